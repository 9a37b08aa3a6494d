"""Runs the cells of a sweep that are missing, one after another, and says what became of all of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep import interrupt
from mtlsweep.errors import UserError, summary
from mtlsweep.forecast import Forecast
from mtlsweep.progress import Display, console, duration
from mtlsweep.runs import Cell, RunDirectory, State, Status, SweepRecord, Taken

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
    """A cell, its directory, and what is to be done about it: run, continue, retry, redo, done or taken."""

    cell: Cell
    directory: RunDirectory
    action: str
    status: Status
    result: dict[str, Any] | None = None

    @classmethod
    def of(cls, cell: Cell) -> "Task":
        """Look at what has become of a cell's run."""
        directory = RunDirectory(cell.directory)
        status = directory.status()
        if status.state in REDONE[cell.settings["rerun"]]:
            return cls(cell, directory, "redo", status)
        return cls(cell, directory, ACTIONS[status.state], status, directory.result())

    @property
    def due(self) -> bool:
        """Whether there is something to execute."""
        return self.action not in ("done", "taken")

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.status.state is State.failed

    @property
    def objective(self) -> float | None:
        """What a search maximises: the best validation accuracy where a part is held out, else the best test accuracy, percent."""
        if not self.result:
            return None
        validated = self.result["selected_val_acc"]
        return self.result["best_fine_acc"] if validated is None else validated


class CellFailed(Exception):
    """A run ended with an error, which has been printed and recorded with the run."""


# The cells of this process's sweep, for the entry point to report on: Hydra returns nothing from a sweep.
launched: list[Task] = []


def launch(cells: Sequence[Cell], record_in: Path | None = None) -> list[Task]:
    """Execute what is missing of these cells; a failing one does not end the others.

    Args:
        cells: composed and checked.
        record_in: the folder that keeps what the sweep was asked for; None for a single run.

    Raises:
        UserError: a part cannot be built or a directory cannot be used; nothing has been trained then.
        KeyboardInterrupt: the user ended it; the run at hand continues from its checkpoint when it is asked for again.
    """
    if not cells:
        raise UserError("the sweep has no cells: a glob(...) in it matches nothing")
    if len({cell.study_dir for cell in cells}) > 1:
        raise UserError("study and runs_dir are a sweep's own: they cannot be swept over")
    found = {cell.directory: Task.of(cell) for cell in cells}  # settings that cannot change numbers may be swept over: one run all the same
    tasks = list(found.values())
    due = [task for task in tasks if task.due]
    _check(tasks, due)
    if cells[0].settings["dry_run"]:
        _print_plan(tasks)
        return [found[cell.directory] for cell in cells]
    if record_in:
        SweepRecord.write(record_in, cells)
        launched.extend(tasks)
    settings = [task.directory.prepare(task.cell) for task in due]
    began = time.monotonic()
    try:
        _execute_all(tasks, due, settings)
    except KeyboardInterrupt:
        done = sum(task.result is not None for task in tasks)
        anew = any(task.action == "redo" for task in tasks)
        console.print(f"interrupted, {done} of {len(tasks)} done: the same command{' without rerun' if anew else ''} continues")
        raise
    if record_in:
        _print_summary(tasks, time.monotonic() - began)
    return [found[cell.directory] for cell in cells]


def _check(tasks: Sequence[Task], due: Sequence[Task]) -> None:
    from mtlsweep.train import check_calls, check_machine  # loads torch

    check_calls([task.cell.settings for task in tasks])
    if not tasks[0].cell.settings["dry_run"]:
        check_machine([task.cell.settings for task in due])


def _execute_all(tasks: Sequence[Task], due: Sequence[Task], settings: Sequence[dict[str, Any]]) -> None:
    sweeping = bool(launched)
    if sweeping:
        console.print(f"{_cell_count(tasks)}, {len(due)} to run")
    elif not due:
        _print_finished(tasks[0])
    forecast = Forecast(settings)
    with Display() as display:
        for number, (task, frozen) in enumerate(zip(due, settings, strict=True), start=1):
            display.title = task.cell.label
            if sweeping:
                left = forecast.time_left()
                display.title = f"cell {number} of {len(due)}{left}"
                display.line(f"[{number}/{len(due)}] {task.cell.label}{left}")
            began = time.monotonic()
            _execute(task, frozen, display)
            forecast.ended(time.monotonic() - began if task.result else None)


def _execute(task: Task, settings: dict[str, Any], display: Display) -> None:
    from mtlsweep.train import execute

    try:
        with interrupt.deferred():
            task.result = execute(task.directory, settings, display, anew=task.action == "redo")
        task.status = Status(State(task.result["status"]))
    except Taken as error:
        task.action, task.status = "taken", Status(State.running, error=str(error))
        display.line(f"{task.cell.label}: {error}")
    except (Exception, SystemExit) as error:
        # Of the exception only its text is kept: its traceback holds the network, the data and all activations.
        task.status = Status(State.failed, error=summary(error))
        display.line(f"failed: {task.status.error} (traceback in {task.directory / 'run.log'})")


def _print_finished(task: Task) -> None:
    from mtlsweep.train.log import final_line

    if not task.result:
        console.print(f"{task.cell.label}: {_taken_by(task)}")
        return
    console.print(final_line(task.cell.options, task.result))
    console.print(f"done already, in {task.directory.path}; rerun=all does it again")
    weights = task.cell.settings["save"]
    if weights != "none" and not (task.directory / f"{weights}.pt").exists():
        console.print(f"its weights were not kept (save={weights} was not asked for then); rerun=all makes them")


def _print_plan(tasks: Sequence[Task]) -> None:
    for task in tasks:
        console.print(f"{task.action:8} {task.status.state.value:11} {task.cell.label}  {task.directory.path}")
    console.print(f"dry run, nothing trained: {_counts([task.action for task in tasks])}")


def _print_summary(tasks: Sequence[Task], seconds: float) -> None:
    outcomes = ["taken" if task.action == "taken" else task.status.state.value for task in tasks]
    console.print(f"{_cell_count(tasks)} in {duration(seconds)}: {_counts(outcomes)}")
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome == "diverged" and task.result:
            console.print(f"  diverged: {task.cell.label}: {task.result['reason']}")
        elif outcome == "taken":
            console.print(f"  taken: {task.cell.label}: {_taken_by(task)}")
        elif outcome != "completed":
            console.print(f"  {outcome}: {task.cell.label}: {task.status.error} (traceback in {task.directory / 'run.log'})")


def _taken_by(task: Task) -> str:
    return task.status.error or f"is being run by {task.status.owner}"


def _cell_count(tasks: Sequence[Task]) -> str:
    return "1 cell" if len(tasks) == 1 else f"{len(tasks)} cells"


def _counts(words: Sequence[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
