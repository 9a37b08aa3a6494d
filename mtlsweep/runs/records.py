"""Reads a study: every run in it, and every cell that a sweep asked for and that has no run yet."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs.directory import RunDirectory, State
from mtlsweep.runs.owner import Owner
from mtlsweep.runs.sweep_record import FOLDER, PATTERN, SweepRecord


@dataclass(frozen=True)
class Record:
    """A run as its directory tells it.

    Attributes:
        path: the run directory; for a pending cell it may not exist; for a record of a sweep that cannot be read, that file.
        run: content of `run.json` (see `runs.schema`).
        state: what has become of it.
        result: content of `result.json`, or None.
        error: for a failed run, the error's last line.
        problem: why the directory could not be read; the other fields are then empty.
        damage: what in it is damaged, though the run can be read.
        owner: who runs it, if somebody does.
    """

    path: Path
    run: dict[str, Any]
    state: State
    result: dict[str, Any] | None = None
    error: str | None = None
    problem: str | None = None
    damage: str | None = None
    owner: Owner | None = None


def scan(study: Path, passed_over: Callable[[Path], bool] = lambda path: False) -> Iterator[Record]:
    """Every run and every pending cell of a study, by path. A directory that cannot be read yields a record that says why.

    Args:
        study: the study's folder.
        passed_over: asked of each run directory before anything in it is read; where it says True, the directory yields nothing.
    """
    paths = sorted(study.glob("*/*/*/*"))
    runs = {path for path in paths if _has(path, "run.json")}
    nameless = {path for path in paths if path not in runs and _has(path, "result.json")}
    for path in paths:
        if path in runs and not passed_over(path):
            yield _read(RunDirectory(path))
        elif path in nameless:
            yield _unreadable(path, f"{path}: has a result and no run.json")
    yield from _pending(study, runs | nameless)


def _has(directory: Path, name: str) -> bool:
    try:
        return (directory / name).exists()
    except OSError:  # no permission; reading will say so
        return True


def _read(directory: RunDirectory) -> Record:
    try:
        status, result = directory.status(), directory.result()
        damage = "result.json: damaged, the run counts as not finished" if result is None and (directory / "result.json").exists() else None
        return Record(directory.path, directory.describe(), status.state, result, status.error, damage=damage, owner=status.owner)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # whatever a damaged file leads to
        return _unreadable(directory.path, str(error) or type(error).__name__)


def _unreadable(path: Path, problem: str) -> Record:
    return Record(path, {}, State.interrupted, problem=problem)


def _pending(study: Path, known: Iterable[Path]) -> Iterator[Record]:
    sweeps = list(SweepRecord.read_all(study))
    asked = {study / cell["directory"]: cell for sweep in sweeps for cell in sweep.cells}
    for path in sorted(asked.keys() - set(known)):
        yield Record(path, asked[path], State.pending)
    for path in sorted(set((study / FOLDER).glob(f"*/{PATTERN}")) - {sweep.path for sweep in sweeps}):
        yield _unreadable(path, f"{path}: damaged record of a sweep, cells that it asked for may be missing")
