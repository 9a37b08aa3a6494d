"""From run directories to one tidy frame, a row per run."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mtlsweep.runs import Record, State, files, loss_label, model_label, scan

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
    "device": "str",
    "precision": "str",  # what was used, not what was asked for
    "commit": "str",
    "dirty": "boolean",
    "signature": "str",
    "error": "str",  # of a failed run its error's last line, of a diverged one where
    "path": "str",  # of the run directory, relative to the study's folder
    # Runs with equal values of these three differ in nothing but the seed.
    "setting": "str",  # hash of the identity without seed, model, loss and curriculum
    "loss_key": "str",  # hash of loss and curriculum
    "model_key": "str",  # hash of the model
}

# What a row takes from `result.json` as it is.
_RESULT = [name for name, kind in COLUMNS.items() if kind in ("float64", "Int64") and name != "seed"] + ["device", "commit", "dirty"]
_TYPES = {"str": (str,), "Int64": (int,), "float64": (int, float), "boolean": (bool,)}
_OPTIONS = ("model", "loss", "curriculum", "schedule", "data", "engine")


def collect(studies: Iterable[Path]) -> pd.DataFrame:
    """All runs of some studies and the cells their sweeps still lack, one row each, by study and path.

    Behind `COLUMNS` there is a column for each setting that decides a run's numbers, by its dotted key (`loss.beta`, `schedule.epochs`).
    A directory that cannot be read is named on standard error and left out.
    """
    rows = []
    for study in studies:
        for record in scan(study):
            try:
                rows.append(_row(study, record))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                _skip(record.path, str(error) if isinstance(error, ValueError) else f"damaged ({type(error).__name__}: {error})")
    return _frame(rows)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Replace the file at `path` by this frame as CSV, at once; floats keep seven digits.

    Raises:
        OSError: it cannot be written.
    """
    files.write_text(path, frame.to_csv(index=False, float_format="%.7g", lineterminator="\n"))


def _row(study: Path, record: Record) -> dict[str, Any]:
    if record.problem:
        raise ValueError(record.problem)
    run, options, identity = record.run, record.run["options"], record.run["identity"]
    return _checked(
        _settings(identity)
        | {name: options[name] for name in _OPTIONS}
        | _outcome(record)
        | {
            "study": study.resolve().name,
            "variant": loss_label(options, run["variant"]),
            "model_variant": model_label(options, run["variant"]),
            "seed": run["seed"],
            "status": record.state.value,
            "signature": run["signature"],
            "path": record.path.relative_to(study).as_posix(),
            "setting": _digest({key: value for key, value in identity.items() if key not in ("seed", "model", "loss", "curriculum")}),
            "loss_key": _digest([identity["loss"], identity["curriculum"]]),
            "model_key": _digest(identity["model"]),
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
    return taken | {"precision": result["engine"].get("precision"), "error": result["reason"]}


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """The row; infinite and undefined numbers are empty.

    Raises:
        TypeError: a value is not of its column's type.
    """
    for name, kind in COLUMNS.items():
        value = row.get(name)
        if value is None or type(value) in _TYPES[kind]:
            continue
        raise TypeError(f"{name} is {value!r}")
    return row | {name: _finite(row.get(name)) for name in COLUMNS}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _settings(identity: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An identity without its seed as one level of dotted keys."""
    settings: dict[str, Any] = {}
    for key, value in identity.items():
        if isinstance(value, dict):
            settings |= _settings(value, f"{prefix}{key}.")
        elif prefix or key != "seed":
            settings[prefix + key] = value
    return settings


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    settings = sorted({key for row in rows for key in row} - COLUMNS.keys())
    kinds = COLUMNS | dict.fromkeys(settings, "object")
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in kinds.items()})


def _skip(path: Path, reason: str) -> None:
    reason = reason if os.fspath(path) in reason else f"{path}: {reason}"
    print(f"analysis: skipped {reason}", file=sys.stderr)
