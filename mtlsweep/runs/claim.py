"""The right to write in a run's directory: taken by one process at a time, kept alive by a heartbeat, given back with an outcome."""

import contextlib
import os
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO

from omegaconf import OmegaConf

from mtlsweep.errors import summary
from mtlsweep.runs import files
from mtlsweep.runs.directory import RunDirectory, State
from mtlsweep.runs.owner import HEARTBEAT_SECONDS, Owner
from mtlsweep.runs.provenance import provenance
from mtlsweep.runs.schema import METRICS, Result


class Taken(Exception):
    """The run is being executed by another process, or was taken over from this one. The message names it."""


class Claim:
    """Ownership of a run, as a context manager.

    An exception that leaves the block is recorded as the attempt's end: failed with its traceback, or interrupted (Ctrl-C, SIGTERM).

    Args:
        directory: of the run.
        settings: of this attempt; they are written to `config.yaml`.
        anew: put what an earlier attempt left aside, so that the run begins at its first epoch.

    Raises:
        Taken: on entry, another process executes the run.
    """

    def __init__(self, directory: RunDirectory, settings: dict[str, Any] | None = None, anew: bool = False) -> None:
        self.directory = directory
        self._settings = settings or {}
        self._anew = anew
        self.attempt = 0
        self._stop = threading.Event()

    def __enter__(self) -> "Claim":
        status = self.directory.status()
        if status.state is State.running:
            raise Taken(f"is being run by {status.owner}")
        self.attempt = status.attempt + 1
        record = {"owner": vars(Owner.here()), "provenance": provenance(), "started": now()}
        if not files.create_json(self.directory.attempt_file(self.attempt), record):
            raise Taken("has just been taken by another process")
        try:
            for partial in self.directory.path.glob(".*.pt.*"):  # of an owner that was killed while it wrote
                partial.unlink(missing_ok=True)
            if self._anew:
                self.directory.put_aside()
            files.write_text(self.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(self._settings)))
        except BaseException as error:  # the attempt is recorded, and so must its end be
            self.__exit__(type(error), error, error.__traceback__)
            raise
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if error is None or isinstance(error, Taken):
            return
        interrupted = isinstance(error, KeyboardInterrupt | GeneratorExit)  # the latter where a run beside it ended the process
        with contextlib.suppress(Taken, OSError):  # a full disk must not hide what went wrong
            self._record_end(State.interrupted if interrupted else State.failed, error)

    def check(self) -> None:
        """Raise `Taken` if another process has taken the run over, believing this one dead."""
        if self.directory.attempt() != self.attempt:
            raise Taken("was taken over by another process")

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace `metrics.csv` by these rows, one per epoch (columns: `schema.METRICS`)."""
        self.check()
        files.write_csv(self.directory / "metrics.csv", METRICS, rows)

    def write_result(self, result: Result) -> None:
        """Write `result.json`: the run is final from here on."""
        self.check()
        files.write_json(self.directory / "result.json", asdict(result))

    def write_file(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Let `write` fill the file of this name (a checkpoint); it replaces the earlier one when it is whole."""
        self.check()
        files.write_bytes(self.directory / name, write)

    def log(self, line: str) -> None:
        """Append a line to `run.log`."""
        with open(self.directory / "run.log", "a") as file:
            file.write(f"{now()} {line}\n")

    def _record_end(self, state: State, error: BaseException) -> None:
        self.check()
        text = "".join(traceback.format_exception(error))
        if state is State.failed:
            self.log(text)
        end = {"attempt": self.attempt, "state": state.value, "error": summary(error), "traceback": text, "time": now()}
        files.write_json(self.directory / "status.json", end)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.directory.attempt_file(self.attempt))


def now() -> str:
    """The time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
