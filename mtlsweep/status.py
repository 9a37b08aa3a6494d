"""How far runs are that are going on, as a table; used wherever somebody waits for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from mtlsweep.runs import RunDirectory
from mtlsweep.runs.progress import rows
from mtlsweep.words import duration


@dataclass(frozen=True)
class Running:
    """How far a run is that is going on.

    Attributes:
        label: of its cell.
        epoch, epochs: finished, and all.
        best: highest fine test accuracy so far, percent; None before the first epoch's end.
        seconds: of the last epoch.
        where: who runs it.
    """

    label: str
    epoch: int
    epochs: int
    best: float | None
    seconds: float | None
    where: str

    @classmethod
    def of(cls, directory: RunDirectory, name: str, epochs: int, where: str) -> "Running":
        """Read a run's metrics."""
        found = rows(directory.path)
        best = max(_column(found, "test_fine_acc"), default=None)
        seconds = _column(found, "seconds")
        return cls(name, len(seconds), epochs, best, seconds[-1] if seconds else None, where)

    @property
    def seconds_left(self) -> float | None:
        """At the speed of the last epoch; None before the first epoch's end."""
        return None if self.seconds is None else self.seconds * (self.epochs - self.epoch)

    @property
    def time_left(self) -> str:
        """For people; nothing before the first epoch's end."""
        return "" if self.seconds_left is None else duration(self.seconds_left)


def running_table(runs: Sequence[Running], most: int | None = None) -> Table:
    """Runs that are going on, for a terminal.

    Args:
        runs: them.
        most: show so many of them.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("running", overflow="fold")
    for name in ("epoch", "best %", "s/epoch", "left"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("where", overflow="fold")
    for run in runs[:most]:
        best, seconds = ("" if value is None else f"{value:.{digits}f}" for value, digits in ((run.best, 2), (run.seconds, 1)))
        table.add_row(run.label, f"{run.epoch}/{run.epochs}", best, seconds, run.time_left, run.where)
    if most is not None and len(runs) > most:
        table.add_row(f"... and {len(runs) - most} more")
    return table


def epoch_seconds(directory: Path) -> list[float]:
    """Device time of each of a run's finished epochs."""
    found = rows(directory)
    return _column(found, "device_seconds") or _column(found, "seconds")


def _column(found: Sequence[Mapping[str, str]], name: str) -> list[float]:
    """Of a run's metrics; empty where it is not there or damaged."""
    try:
        return [float(row[name]) for row in found]
    except (ValueError, KeyError, TypeError):
        return []
