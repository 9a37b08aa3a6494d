"""A run's directory: what has become of the run, and who may write there.

Ownership is a row of numbered files, `attempts/1.json`, `attempts/2.json`, ...: the highest number owns the run. To take it over from an
owner that is gone is to create the next number, which exactly one process can, on any shared file system; nobody deletes or rewrites one.
"""

import hashlib
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs import files
from mtlsweep.runs.cell import Cell
from mtlsweep.runs.owner import Owner, is_gone
from mtlsweep.runs.schema import SCHEMA

# Marks a finished run that is to be done again.
REDO = "redo"


class State(Enum):
    """What has become of a run."""

    pending = "pending"
    running = "running"
    interrupted = "interrupted"
    failed = "failed"
    diverged = "diverged"
    completed = "completed"


@dataclass(frozen=True)
class Status:
    """A run's state; for a running one its owner, for a failed one the error's last line."""

    state: State
    attempt: int = 0
    owner: Owner | None = None
    error: str | None = None


class RunDirectory:
    """The directory of one run. Reading it needs no ownership; what happens in the run is written by `Claim`, the owner's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def prepare(self, cell: Cell) -> dict[str, Any]:
        """Make the directory of a cell: its identity and a copy of its own strategy file.

        Returns:
            The cell's settings as they are to be executed, with the copy in place of the user's file.

        Raises:
            UserError: the directory belongs to another run or another schema version, or cannot be written, or the user's file has been
                changed since the cell was composed.
        """
        try:
            (self.path / "attempts").mkdir(parents=True, exist_ok=True)
            if not files.create_json(self / "run.json", {"schema": SCHEMA} | cell.describe()):
                self.check_identity(cell)
            if not cell.source:
                return cell.settings
            copy = self._copy_source(cell.source, cell.identity["loss"]["source"])
            return cell.settings | {"loss": cell.settings["loss"] | {"path": str(copy)}}
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error

    def check_identity(self, cell: Cell) -> None:
        """See that the directory is this cell's; a description that is damaged is written again.

        Raises:
            UserError: it belongs to another run or another schema version.
        """
        try:
            run = files.read_json(self / "run.json")
        except ValueError:
            run = None
        if run is None:  # the directory's name says whose it is
            files.write_json(self / "run.json", {"schema": SCHEMA} | cell.describe())
            return
        _check_schema(self / "run.json", run)
        if run["signature"] != cell.signature:
            raise UserError(f"{self.path}: belongs to another run (signature {run['signature'][:12]}, this one is {cell.signature[:12]})")

    def describe(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            UserError: it is missing, damaged or of another schema version.
        """
        try:
            run = files.read_json(self / "run.json")
        except ValueError as error:
            raise UserError(f"{self / 'run.json'}: damaged ({error})") from error
        if run is None:
            raise UserError(f"{self.path}: not a run directory (no run.json)")
        _check_schema(self / "run.json", run)
        return run

    def result(self) -> dict[str, Any] | None:
        """The content of `result.json` (see `schema.Result`); None where there is none or it is damaged.

        Raises:
            UserError: it is of another schema version.
        """
        try:
            result = files.read_json(self / "result.json")
        except ValueError:
            return None  # the run is done again from its checkpoint
        if result is not None:
            _check_schema(self / "result.json", result)
        return result if result and result.get("status") in State.__members__ else None

    def status(self) -> Status:
        """What has become of the run. A killed process writes nothing: an owner that is gone without a word reads as interrupted.

        Raises:
            UserError: the directory is of another schema version.
        """
        attempt = self.attempt()
        result = self.result()
        if result:
            return Status(State(result["status"]), attempt)
        if not attempt:
            return Status(State.pending)
        ended = self._ended() or {}
        if ended.get("attempt") == attempt and ended.get("state") in State.__members__:
            return Status(State(ended["state"]), attempt, error=ended.get("error"))
        owner, heartbeat = self._owner(attempt)
        if owner and not is_gone(owner, time.time() - heartbeat):
            return Status(State.running, attempt, owner)
        return Status(State.interrupted, attempt)

    def attempt(self) -> int:
        """Number of the newest attempt; 0 before the first."""
        return _newest(self.path / "attempts", "*.json")

    def attempt_file(self, attempt: int) -> Path:
        """Where an attempt is recorded."""
        return self.path / "attempts" / f"{attempt}.json"

    def attempt_record(self, attempt: int) -> dict[str, Any]:
        """What is recorded of an attempt: owner, provenance, when it began; nothing where that is missing or damaged."""
        try:
            return files.read_json(self.attempt_file(attempt)) or {}
        except (ValueError, OSError):
            return {}

    def ask_redo(self) -> None:
        """Have the run done again, by whoever comes to it: what it has is no result any more that a sweep may take."""
        files.write_text(self / REDO, "")

    @property
    def redo_asked(self) -> bool:
        """Whether it is to be done again and has not been begun."""
        return (self / REDO).exists()

    def earlier(self) -> int:
        """Number of the newest result that was put aside; 0 where none was."""
        return _newest(self.path / "previous", "*")

    def put_aside(self) -> None:
        """Move an earlier result and what belongs to it to `previous/<k>/`, so that nothing is overwritten. For the owner only.

        A checkpoint is removed.
        """
        # The result last: a run that is killed in between still counts as done, and no file without its result is ever overwritten.
        names = ("status.json", "metrics.csv", "run.log", "best.pt", "last.pt", "result.json")
        found = [name for name in names if (self / name).exists()]
        (self / "checkpoint.pt").unlink(missing_ok=True)
        if found:
            folder = self.path / "previous" / str(self.earlier() + 1)
            folder.mkdir(parents=True)
            for name in found:
                (self / name).rename(folder / name)
        (self / REDO).unlink(missing_ok=True)

    def _copy_source(self, source: Path, digest: str) -> Path:
        content = source.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"{source}: has been changed while the command was being prepared; give the command again")
        copy = (self / source.name).absolute()
        if not copy.exists() or copy.read_bytes() != content:
            files.write_content(copy, content)
        return copy

    def _ended(self) -> dict[str, Any] | None:
        try:
            return files.read_json(self / "status.json")
        except ValueError:
            return None

    def _owner(self, attempt: int) -> tuple[Owner | None, float]:
        try:
            return Owner.from_json(self.attempt_record(attempt)["owner"]), self.attempt_file(attempt).stat().st_mtime
        except (ValueError, KeyError, TypeError, OSError):
            return None, 0.0


def _newest(folder: Path, pattern: str) -> int:
    """The highest number that names one of these files; 0 where none does."""
    return max((int(path.stem) for path in folder.glob(pattern) if path.stem.isdigit()), default=0)


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: written by another version of mtlsweep (schema {content.get('schema')}, this one reads {SCHEMA})")
