"""Keeps the small files of finished runs for publication: checked, and without what tells whose machine they were made on."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from analysis.same_code import COMMITTED, committed_as, finder, is_commit, only, provenances
from mtlsweep.errors import UserError, summary
from mtlsweep.runs import Record, State, files, progress, scan
from mtlsweep.runs.outcome import outcome
from mtlsweep.runs.signature import signature

# Settings that say where something is, in `config.yaml` and on the command line; of trackers none is of interest.
_PLACES = ("runs_dir", "data.root", "loss.path", "logger")

# What of an attempt's provenance says nothing about whose machine it was.
_PROVENANCE = ("commit", "dirty", "python", "versions")


def take(studies: Sequence[Path], archive: Path) -> list[Path]:
    """Copy the finished runs of some studies into an archive, which is laid out as a study.

    Args:
        studies: folders of studies; what has not finished in them is passed over.
        archive: the folder that keeps the copies; those that are there already stay as they are.

    Returns:
        The directories that are new in the archive.

    Raises:
        UserError: a finished run is at fault (see `faults`), or the archive or another study has another result of it; nothing has been
            copied then.
    """
    finished = [(study, record) for study in studies for record in scan(study) if record.result]
    places = {record.path: archive / record.path.relative_to(study) for study, record in finished}
    wrong = [
        f"{copy}: holds another result than {path}; remove it first if that is to take its place"
        for path, copy in places.items()
        if _differs(path, copy)
    ]
    first: dict[Path, Path] = {}
    for path, copy in places.items():
        if first.setdefault(copy, path) != path and _differs(path, first[copy]):
            wrong.append(f"{path}: is another result than {first[copy]}")
    find = finder()
    committed = {record.path: committed_as(study, record, find) for study, record in finished if record.result and record.result["dirty"]}
    _refuse([f"{record.path}: {fault}" for _, record in finished for fault in faults(record, committed.get(record.path))] + wrong)
    new = {copy: path for copy, path in first.items() if not (copy / "result.json").exists()}
    for copy, path in new.items():
        _copy(path, copy, committed.get(path))
    return list(new)


def check(archive: Path) -> None:
    """See that an archive holds nothing but finished runs that may be published.

    Raises:
        UserError: it does; a line for each fault.
    """
    _refuse([f"{record.path}: {fault}" for record in scan(archive) for fault in faults(record, _committed(record))])


def _committed(record: Record) -> str | None:
    """What was found when it was taken in."""
    found = only(known.get(COMMITTED) for known in provenances(record))
    return found if found and is_commit(found) else None


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        raise UserError("\n".join(wrong))


def faults(record: Record, committed: str | None = None) -> list[str]:
    """Why a run must not be published: it is not finished, not what its signature says, not whole, or of code that nobody can look up.

    Args:
        record: of the run.
        committed: the commit that has its code, where it was made with uncommitted changes.
    """
    run, result = record.run, record.result
    if record.problem or not result:
        return [record.problem or f"is not finished ({record.state.value})"]
    hashed = signature(run["identity"])
    wrong = [
        (run["signature"] != hashed, f"its signature is {run['signature'][:12]}, that of its settings {hashed[:12]}"),
        (record.path.name != f"seed{run['seed']}-{hashed[:8]}", f"its directory should be named seed{run['seed']}-{hashed[:8]}"),
        (run["identity"]["seed"] != run["seed"], f"its seed is {run['seed']}, that of its settings {run['identity']['seed']}"),
        (result["signature"] != hashed, f"its result is another run's ({result['signature'][:12]})"),
        (result["commit"] is None or (result["dirty"] is not False and not committed), "the code that made it is in no commit"),
        (not _has_source(record), "its own strategy file is missing or changed"),
    ]
    return [fault for is_wrong, fault in wrong if is_wrong] + _metrics_faults(record.path, run["identity"], result)


def _metrics_faults(directory: Path, identity: dict[str, Any], result: dict[str, Any]) -> list[str]:
    try:
        rows = _epochs(directory)
        if not rows:
            return ["metrics.csv cannot be read, or has no epochs"]
        found = outcome(rows)
    except (ValueError, KeyError, TypeError) as error:
        return [f"metrics.csv cannot be read ({summary(error)})"]
    planned = identity["schedule"]["epochs"]
    if [row["epoch"] for row in rows] != list(range(1, result["epochs"] + 1)):
        return [f"metrics.csv has not the epochs 1 to {result['epochs']} that its result says"]
    if result["status"] != State.completed.value:
        return []
    # What an earlier version did not record is no fault.
    wrong = [name for name, value in found.items() if not _agree(value, result.get(name, value))]
    return [
        *([f"{len(rows)} of {planned} epochs"] if len(rows) != planned else []),
        *([f"its result's {', '.join(wrong)} are not those of its metrics.csv"] if wrong else []),
    ]


def _epochs(directory: Path) -> list[dict[str, float | None]]:
    return [{name: float(word) if word else None for name, word in row.items()} for row in progress.rows(directory)]


def _agree(ours: float | None, theirs: Any) -> bool:
    """Whether they are the same, or both are absent; seven digits are kept in metrics.csv."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-5)


def _has_source(record: Record) -> bool:
    digest = record.run["identity"]["loss"].get("source")
    return digest is None or any(hashlib.sha256(path.read_bytes()).hexdigest() == digest for path in record.path.glob("*.py"))


def _differs(path: Path, copy: Path) -> bool:
    return (copy / "result.json").exists() and any(_read(path / name) != _read(copy / name) for name in ("result.json", "metrics.csv"))


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _copy(path: Path, copy: Path, committed: str | None) -> None:
    """The result last: a copy that was interrupted has none, and is no finished run."""
    (copy / "attempts").mkdir(parents=True, exist_ok=True)
    for attempt in sorted((path / "attempts").glob("*.json")):
        known = files.read_json(attempt) or {}
        kept = {key: known.get("provenance", {}).get(key) for key in _PROVENANCE} | ({COMMITTED: committed} if committed else {})
        files.write_json(copy / "attempts" / attempt.name, {"provenance": kept, "started": known.get("started")})
    run = files.read_json(path / "run.json") or {}
    files.write_json(copy / "run.json", run | {"overrides": [text for text in run["overrides"] if not _is_place(text)]})
    files.write_text(copy / "config.yaml", _settings(path / "config.yaml"))
    for source in [*path.glob("*.py"), path / "metrics.csv", path / "result.json"]:
        # Not as text, which may have other ends of lines then: a strategy's digest is in its run's signature.
        files.write_content(copy / source.name, source.read_bytes())


def _is_place(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return any(key == place or key.startswith(f"{place}.") for place in _PLACES)


def _settings(path: Path) -> str:
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    for place in _PLACES:
        group, _, key = place.rpartition(".")
        (config[group] if group else config).pop(key, None)
    return OmegaConf.to_yaml(config)
