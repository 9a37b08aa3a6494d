"""`python -m mtlsweep status STUDY`: how far a study's runs are, read from their directories."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from mtlsweep.errors import UserError
from mtlsweep.progress import console, duration
from mtlsweep.runs import Record, RunDirectory, State, label, scan
from mtlsweep.runs.progress import rows
from mtlsweep.slurm.queue import queued
from mtlsweep.slurm.submission import Submission, waiting


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
        best = max((float(row["test_fine_acc"]) for row in found), default=None)
        return cls(name, len(found), epochs, best, float(found[-1]["seconds"]) if found else None, where)

    @property
    def time_left(self) -> str:
        """For people; nothing before the first epoch's end."""
        return "" if self.seconds is None else duration(self.seconds * (self.epochs - self.epoch))


def running_table(runs: Sequence[Running]) -> Table:
    """Runs that are going on, for a terminal."""
    table = Table("running", "epoch", "best %", "s/epoch", "left", "where", box=box.SIMPLE_HEAD)
    for run in runs:
        best, seconds = ("" if value is None else f"{value:.{digits}f}" for value, digits in ((run.best, 2), (run.seconds, 1)))
        table.add_row(run.label, f"{run.epoch}/{run.epochs}", best, seconds, run.time_left, run.where)
    return table


def find_study(name: str) -> Path:
    """The folder of a study, given its path or its name below `runs/`.

    Raises:
        UserError: there is no such folder.
    """
    for path in (Path(name), Path("runs") / name):
        if path.is_dir():
            return path
    raise UserError(f"{name}: no such study (neither {name} nor {Path('runs') / name} is a folder)")


def show(study: Path) -> None:
    """Print a study's status: what is running, what failed and where its log is, how many runs there are of each state."""
    records = list(scan(study))
    jobs = _jobs(study)
    running = [record for record in records if record.state is State.running]
    if running:
        console.print(running_table([_running(record) for record in running]))
    for record in records:
        if record.state is State.failed or record.problem:
            console.print(f"{record.state.value}: {_label(record)}: {record.problem or record.error} ({record.path / 'run.log'})")
    words = Counter("queued" if _waits(record, jobs) else record.state.value for record in records)
    console.print(f"{len(records)} runs: {', '.join(f'{count} {word}' for word, count in words.items())}" if records else "no runs")
    spent = sum(record.result["seconds"] for record in records if record.result)
    console.print(f"{duration(spent)} of device time in those that are done")


def _jobs(study: Path) -> Mapping[Path, tuple[str, Submission]]:
    submitted = any(Submission.read_all(study))
    return waiting(study, queued() or {}) if submitted else {}  # SLURM is asked only where there is something to ask


def _waits(record: Record, jobs: Mapping[Path, tuple[str, Submission]]) -> bool:
    return record.state in (State.pending, State.interrupted) and record.path in jobs


def _running(record: Record) -> Running:
    directory = RunDirectory(record.path)
    return Running.of(directory, _label(record), record.run["identity"]["schedule"]["epochs"], str(directory.status().owner))


def _label(record: Record) -> str:
    return label(record.run["options"], record.run["variant"], record.run["seed"]) if record.run else str(record.path)
