"""A run as one row: what each column means, and where it is taken from."""

import hashlib
import json
import math
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from analysis.same_code import COMMITTED
from mtlsweep.runs import Record, RunDirectory, State, loss_label, model_label
from mtlsweep.runs.cell import GROUPS as OPTIONS
from mtlsweep.runs.signature import dotted

# Columns and their types. Accuracies are percent, times seconds, epochs 1-indexed; what a run does not have is empty.
COLUMNS = {
    "study": "str",  # the study's folder
    "model": "str",  # option names, as on the command line
    "loss": "str",
    "variant": "str",  # the loss, and what was changed in it and in the curriculum: `haw[beta=3, curriculum=linear]`
    "model_variant": "str",
    "curriculum": "str",
    "schedule": "str",
    "data": "str",
    "engine": "str",
    "seed": "Int64",
    "status": "str",  # completed, diverged, failed, interrupted, running or pending
    "best_fine_acc": "float64",
    "last_fine_acc": "float64",
    "best_epoch": "Int64",
    "epochs": "Int64",
    "last_coarse_acc": "float64",
    "coarse_acc_at_best": "float64",
    "selected_epoch": "Int64",
    "selected_val_acc": "float64",
    "selected_fine_acc": "float64",
    "fine_weight": "float64",
    "coarse_weight": "float64",
    "conflict_rate": "float64",
    "cosine": "float64",
    "seconds": "float64",
    "device_hours": "float64",  # hours of one device, training and evaluation, without the turns of runs that shared the process (lanes)
    "device": "str",
    "precision": "str",  # what was used, not what was asked for
    "resolved_engine": "str",  # everything that was used: `device=cpu, precision=fp32, channels_last=True, threads=2`
    "torch": "str",  # version
    "commit": "str",
    "dirty": "boolean",
    "changed_midway": "str",  # what an interrupted run went on with that it had not begun with: `commit, torch, device`
    "signature": "str",
    "error": "str",  # of a failed run its error's last line, of a diverged one where
    "path": "str",  # of the run directory, relative to the study's folder
    "command": "str",  # that makes the run again
    # Runs with equal values of these three differ in nothing but the seed.
    "setting": "str",  # hash of the identity without seed, model, loss and curriculum
    "loss_key": "str",  # hash of loss and curriculum
    "model_key": "str",  # hash of the model
}


class Group(NamedTuple):
    """What tells runs of one setting apart, beside the seed.

    Attributes:
        key: the column of its hash.
        label: the column of its name, which may be another one's too.
        settings: beginnings of the columns of its settings.
    """

    key: str
    label: str
    settings: tuple[str, ...]


GROUPS = {"loss": Group("loss_key", "variant", ("loss.", "curriculum.")), "model": Group("model_key", "model_variant", ("model.",))}
OF_GROUPS = tuple(prefix for group in GROUPS.values() for prefix in group.settings)

# What a row takes from `result.json` as it is.
_NUMBERS = [name for name, kind in COLUMNS.items() if kind in ("float64", "Int64") and name not in ("seed", "device_hours")]
_RESULT = [*_NUMBERS, "device", "commit", "dirty"]
_TYPES = {"str": (str,), "Int64": (int,), "float64": (int, float), "boolean": (bool,)}


def row(study: Path, record: Record) -> dict[str, Any]:
    """The columns of a run, without its study, and its settings by dotted key (`loss.beta`, `schedule.epochs`).

    Raises:
        ValueError, KeyError, TypeError, AttributeError: a file of the run says what cannot be.
    """
    if record.problem:
        raise ValueError(record.problem)
    run, options, identity = record.run, record.run["options"], record.run["identity"]
    return _checked(
        dotted({key: value for key, value in identity.items() if key != "seed"})
        | {name: options[name] for name in OPTIONS}
        | _outcome(record)
        | {
            "variant": loss_label(options, run["variant"]),
            "model_variant": model_label(options, run["variant"]),
            "seed": run["seed"],
            "status": record.state.value,
            "signature": run["signature"],
            "path": record.path.relative_to(study).as_posix(),
            "command": shlex.join(["python", "run.py", *run["overrides"]]),
            "setting": digest({key: value for key, value in identity.items() if key not in ("seed", "model", "loss", "curriculum")}),
            "loss_key": digest([identity["loss"], identity["curriculum"]]),
            "model_key": digest(identity["model"]),
        }
    )


def _outcome(record: Record) -> dict[str, Any]:
    result = record.result
    if result is None:
        return {"error": record.error}
    if result["signature"] != record.run["signature"]:
        raise ValueError(f"{record.path / 'result.json'}: is another run's (signature {result['signature'][:12]})")
    taken = {name: result[name] for name in _RESULT}
    if record.state is State.completed and None in (_finite(taken["best_fine_acc"]), _finite(taken["last_fine_acc"])):
        raise ValueError(f"{record.path / 'result.json'}: completed, but without an accuracy")
    engine, own = result["engine"], result.get("device_seconds")
    return taken | {
        "precision": engine.get("precision"),
        "resolved_engine": ", ".join(f"{key}={value}" for key, value in engine.items()),
        "device_hours": (result["seconds"] if own is None else own) / 3600,
        **_of_attempt(record.path, result),
        "changed_midway": ", ".join(result.get("changed_midway", [])) or None,
        "error": result["reason"],
    }


def _of_attempt(directory: Path, result: dict[str, Any]) -> dict[str, Any]:
    """What the last attempt's record says: the version of torch, None where nothing is known of it, and, of a published run, the commit to
    which changes were committed that were uncommitted then."""
    provenance = RunDirectory(directory).attempt_record(result["attempts"]).get("provenance") or {}
    committed = provenance.get(COMMITTED)
    return {"torch": (provenance.get("versions") or {}).get("torch")} | ({"commit": committed, "dirty": False} if committed else {})


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """The row; infinite and undefined numbers are empty.

    Raises:
        TypeError: a value is not of its column's type.
    """
    for name, kind in COLUMNS.items():
        value = found.get(name)
        if value is None or type(value) in _TYPES[kind]:
            continue
        raise TypeError(f"{name} is {value!r}")
    return found | {name: _finite(found.get(name)) for name in COLUMNS}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digest(value: Any) -> str:
    """Of JSON; equal for equal values whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
