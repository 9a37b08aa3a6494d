"""Keeps a run's tracker from harming the run: what goes wrong in it is one warning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mtlsweep.errors import summary
from mtlsweep.loggers.base import Entry, Logger
from mtlsweep.runs import Taken


class Tracking:
    """A run's tracker, told each epoch once however often the run is interrupted.

    Args:
        logger: the tracker.
        say: shows the user a line.
    """

    def __init__(self, logger: Logger, say: Callable[[str], object]) -> None:
        self._logger = logger
        self._say = say
        self._works = True
        self._holds = 0  # epochs

    @contextmanager
    def follow(self, entry: Callable[[], Entry], rows: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Open the run's entry, and close it where the block is left by an exception.

        Args:
            entry: makes the run's.
            rows: its finished epochs; those that the entry does not hold are logged.
        """
        self._try(lambda: self._start(entry(), rows))
        try:
            yield
        except BaseException as error:
            # A run that another process has taken over goes on there, in the same entry.
            state = "failed" if isinstance(error, Exception) and not isinstance(error, Taken) else "interrupted"
            self._try(lambda: self._logger.leave(state))
            raise

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log a finished epoch, unless the entry holds it: an attempt that was killed may have logged more than its checkpoint had."""
        if row["epoch"] > self._holds:
            self._try(lambda: self._logger.epoch(row))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the result."""
        self._try(lambda: self._logger.finish(result))

    def _start(self, entry: Entry, rows: Sequence[Mapping[str, Any]]) -> None:
        self._holds = self._logger.start(entry)
        for row in rows:
            self.epoch(row)

    def _try(self, call: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            call()
        except Exception as error:
            self._works = False
            self._say(f"warning: {type(self._logger).__name__}: {summary(error)}: the run goes on without it")
