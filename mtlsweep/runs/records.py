"""Reads a study: every run in it, and every cell that a sweep asked for and that has no run yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs.directory import RunDirectory, State
from mtlsweep.runs.sweep_record import SweepRecord


@dataclass(frozen=True)
class Record:
    """A run as its directory tells it.

    Attributes:
        path: the run directory; for a pending cell it may not exist.
        run: content of `run.json` (see `runs.schema`).
        state: what has become of it.
        result: content of `result.json`, or None.
        error: for a failed run, the error's last line.
        problem: why the directory could not be read; the other fields are then empty.
    """

    path: Path
    run: dict[str, Any]
    state: State
    result: dict[str, Any] | None = None
    error: str | None = None
    problem: str | None = None


def scan(study: Path) -> Iterator[Record]:
    """Every run and every pending cell of a study, by path. A directory that cannot be read yields a record that says why."""
    paths = {path.parent for path in study.glob("*/*/*/*/run.json")}
    for path in sorted(paths):
        yield _read(RunDirectory(path))
    for path, run in _pending(study, paths):
        yield Record(path, run, State.pending)


def _read(directory: RunDirectory) -> Record:
    try:
        status = directory.status()
        return Record(directory.path, directory.describe(), status.state, directory.result(), status.error)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # whatever a damaged file leads to
        return Record(directory.path, {}, State.interrupted, problem=str(error) or type(error).__name__)


def _pending(study: Path, known: set[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    asked = {study / cell["directory"]: cell for sweep in SweepRecord.read_all(study) for cell in sweep.cells}
    for path in sorted(asked.keys() - known):
        yield path, asked[path]
