"""What is to be done about the cells of a sweep, and what became of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.progress import console
from mtlsweep.runs import Cell, RunDirectory, State, Status
from mtlsweep.runs.outcome import objective
from mtlsweep.runs.signature import NEUTRAL
from mtlsweep.words import counts, duration, plural

# What is to be done about a cell, by the state of its run.
ACTIONS = {
    State.pending: "run",
    State.interrupted: "continue",
    State.failed: "retry",
    State.running: "taken",
    State.diverged: "done",
    State.completed: "done",
}
# The states that a value of `rerun` does again from the first epoch.
REDONE = {"none": (), "failed": (State.failed,), "diverged": (State.diverged,)}
REDONE["all"] = (State.failed, State.diverged, State.completed)


@dataclass
class Task:
    """A cell, its directory, and what is to be done about it: run, continue, retry, redo, done, taken or queued.

    Attributes:
        job: the SLURM job that has been asked to run it.
        lost: why that job ended without having run it.
    """

    cell: Cell
    directory: RunDirectory
    action: str
    status: Status
    result: dict[str, Any] | None = None
    job: str | None = None
    lost: str | None = None

    @classmethod
    def of(cls, cell: Cell) -> "Task":
        """Look at what has become of a cell's run.

        Raises:
            UserError: the directory belongs to another run or another schema version.
        """
        directory = RunDirectory(cell.directory)
        status = directory.status()
        if status.state in (State.completed, State.diverged):  # the others are looked at before they begin
            directory.check_identity(cell)
        if status.state in REDONE[cell.settings["rerun"]] or (directory.redo_asked and status.state is not State.running):
            return cls(cell, directory, "redo", status)
        return cls(cell, directory, ACTIONS[status.state], status, directory.result())

    @property
    def begun(self) -> bool:
        """Whether there has been an attempt since the run was planned."""
        return self.directory.attempt() > self.status.attempt

    @property
    def has_old_result(self) -> bool:
        """Whether the result is the one from before: a run that is done again keeps it until it begins."""
        return self.status.state in (State.completed, State.diverged) and not self.begun

    def look_again(self) -> None:
        """See what has become of the run since it was planned. A result from before does not count where it was to be made anew."""
        if self.has_old_result:
            self.status, self.result = Status(State.interrupted, self.status.attempt), None
        else:
            self.status, self.result = self.directory.status(), self.directory.result()

    @property
    def due(self) -> bool:
        """Whether there is something to execute."""
        return self.action not in ("done", "taken", "queued")

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error, or its job without having run it."""
        return self.status.state is State.failed or self.lost is not None

    @property
    def objective(self) -> float | None:
        """How good the run is (`runs.outcome.objective`); None where it has no result."""
        return objective(self.result) if self.result else None

    @property
    def outcome(self) -> str:
        """One word for it: the state of the run, or "taken"."""
        return "taken" if self.action == "taken" else self.status.state.value

    @property
    def error(self) -> str:
        """What went wrong, and where more stands about it."""
        return self.lost or f"{self.status.error} (traceback in {self.directory / 'run.log'})"

    @property
    def taken_by(self) -> str:
        """Who else runs it."""
        return self.status.error or f"is being run by {self.status.owner}"


def plan(cells: Sequence[Cell]) -> dict[Path, Task]:
    """A task for every run directory that these cells have.

    Settings that cannot change numbers may be swept over: it is one run all the same, with the last of their values, and a line says so.

    Raises:
        UserError: there are no cells, or they are of several studies, or a directory cannot be used.
    """
    if not cells:
        raise UserError("the sweep has no cells: a glob(...) in it matches nothing")
    if len({cell.study_dir for cell in cells}) > 1:
        raise UserError("study and runs_dir are a sweep's own: they cannot be swept over")
    directories = [cell.directory for cell in cells]
    kept = dict(zip(directories, cells, strict=True))
    pairs = zip(cells, directories, strict=True)
    if differing := {name for cell, directory in pairs for name in _differing(cell.settings, kept[directory].settings)}:
        are, names = f"{plural(len(cells), 'cell')} are {plural(len(kept), 'run')}", ", ".join(sorted(differing))
        console.print(f"note: {are}: what a run is does not depend on {names}, of which the last value counts")
    return {directory: Task.of(cell) for directory, cell in kept.items()}


def _differing(settings: dict[str, Any], others: dict[str, Any]) -> Iterator[str]:
    """What two settings of one run differ in."""
    for key, value in settings.items():
        if isinstance(value, dict) and key not in NEUTRAL:
            yield from (f"{key}.{name}" for name in value if value[name] != others[key].get(name))
        elif value != others[key]:
            yield key


def check(tasks: Sequence[Task], here: bool = True) -> None:
    """Build every part that the tasks need, and find their data; a dry run leaves the data alone.

    Args:
        tasks: all of a sweep.
        here: whether this machine executes them; else its devices say nothing about those of the other.

    Raises:
        UserError: a part cannot be built, or data or a device are missing.
    """
    from mtlsweep.train import check_calls, check_machine  # loads torch

    check_calls([task.cell.settings for task in tasks])
    if not tasks[0].cell.settings["dry_run"]:
        due = [task.cell.settings for task in tasks if task.due]
        check_machine(due if here else [settings | {"engine": _without_gpu(settings["engine"])} for settings in due])


def _without_gpu(engine: dict[str, Any]) -> dict[str, Any]:
    return engine | {"device": "cpu"} if re.fullmatch(r"cuda(:\d+)?", engine["device"]) else engine


def print_summary(tasks: Sequence[Task], seconds: float) -> None:
    """What has become of all tasks, and all that is not a plain success in detail."""
    outcomes = [task.outcome for task in tasks]
    console.print(f"{plural(len(tasks), 'cell')} in {duration(seconds)}: {counts(outcomes)}")
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome == "diverged" and task.result:
            console.print(f"  diverged: {task.cell.label}: {task.result['reason']}")
        elif outcome == "taken":
            console.print(f"  taken: {task.cell.label}: {task.taken_by}")
        elif outcome != "completed":
            console.print(f"  {outcome}: {task.cell.label}: {task.error}")
