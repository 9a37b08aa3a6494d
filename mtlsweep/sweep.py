"""Runs the cells of a sweep that are missing, on this machine, and says what became of all of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from mtlsweep import interrupt
from mtlsweep.dry_run import print_plan
from mtlsweep.errors import UserError, summary
from mtlsweep.forecast import Forecast
from mtlsweep.plan import Task, check, plan, print_summary
from mtlsweep.processes.machine import divide
from mtlsweep.progress import Display, Screen, console
from mtlsweep.runs import Cell, State, Status, SweepRecord, Taken
from mtlsweep.runs.provenance import write_changes
from mtlsweep.words import plural

if TYPE_CHECKING:  # loads torch
    from mtlsweep.train.lanes import Job, Lane


class CellFailed(Exception):
    """A run ended with an error, which has been printed and recorded with the run."""


# The cells of this process's sweep, for the entry point to report on: Hydra returns nothing from a sweep.
launched: list[Task] = []


def launch(cells: Sequence[Cell], record_in: Path | None = None, lanes: int | str = 1, n_jobs: int | str = 1) -> list[Task]:
    """Execute what is missing of these cells; a failing one does not end the others.

    Args:
        cells: composed and checked.
        record_in: the folder that keeps what the sweep was asked for; None for a single run.
        lanes: how many runs take turns in a process; "auto": as many as a GPU takes well.
        n_jobs: the number of processes, 1 being this one; "auto": one for each GPU.

    Raises:
        UserError: a part cannot be built or a directory cannot be used, a launcher or a sweeper was chosen for a single run, or `lanes` is
            "auto" in several processes; nothing has been trained then.
        KeyboardInterrupt: the user ended it; the run at hand continues from its checkpoint when it is asked for again.
    """
    if not record_in:
        _check_single()
    found = plan(cells)
    tasks = list(found.values())
    check(tasks)
    if cells[0].settings["dry_run"]:
        print_plan(tasks)
        return [found[cell.directory] for cell in cells]
    due = [task for task in tasks if task.due]
    shares = divide(n_jobs, [task.cell.settings["engine"] for task in due])
    if lanes == "auto" and len(shares) > 1:
        raise UserError("hydra.launcher.lanes=auto: is found in one process; with hydra.launcher.n_jobs give a number")
    if record_in:
        SweepRecord.write(record_in, cells)
        launched.extend(tasks)
    ask_redo(tasks)
    settings = [task.directory.prepare(task.cell) for task in due]
    if due:
        first = due[0].directory.attempt_file(due[0].status.attempt + 1)
        write_changes(record_in / "code.diff" if record_in else first.with_suffix(".diff"))
    began = time.monotonic()
    try:
        if len(shares) > 1:
            from mtlsweep.processes.pool import execute_in_processes  # whose processes import this module

            execute_in_processes(tasks, settings, shares, int(lanes))
        else:
            execute_all(tasks, settings, bool(record_in), lanes)
    except KeyboardInterrupt:
        done = sum(task.result is not None for task in tasks)
        anew = any(task.action == "redo" for task in tasks)
        console.print(f"interrupted, {done} of {len(tasks)} done: the same command{' without rerun' if anew else ''} continues")
        raise
    if record_in:
        print_summary(tasks, time.monotonic() - began)
    return [found[cell.directory] for cell in cells]


def ask_redo(tasks: Sequence[Task]) -> None:
    """Mark what is to be done again, so that the same command without `rerun` does what this one does not come to."""
    for task in tasks:
        if task.action == "redo" and not task.directory.redo_asked:
            task.directory.ask_redo()


def _check_single() -> None:
    """Hydra passes over launcher and sweeper of a single run without a word, and would train here, once, what was meant for a sweep."""
    if not HydraConfig.initialized():
        return
    chosen = HydraConfig.get().runtime.choices
    if chosen["hydra/launcher"] != "local":
        raise UserError(f"hydra/launcher={chosen['hydra/launcher']}: launchers execute sweeps; add -m, which makes a sweep of one cell too")
    if chosen["hydra/sweeper"] != "grid":
        raise UserError(f"hydra/sweeper={chosen['hydra/sweeper']}: sweepers choose the cells of a sweep; add -m")


def execute_all(tasks: Sequence[Task], settings: Sequence[dict[str, Any]], sweeping: bool, lanes: int | str = 1) -> None:
    """Execute those tasks that are due.

    Args:
        tasks: all of a sweep.
        settings: of those that are due, as `RunDirectory.prepare` returned them.
        sweeping: whether to count the runs; a single one that is done already is shown.
        lanes: how many take turns in this process; "auto": as many as a GPU takes well.

    Raises:
        KeyboardInterrupt: the user ended it, or the time of the SLURM job that executes it is up.
    """
    due = [task for task in tasks if task.due]
    if sweeping:
        console.print(f"{plural(len(tasks), 'cell')}, {len(due)} to run")
    elif not due:
        _print_finished(tasks[0])
    if due:
        from mtlsweep.train import take_turns  # loads torch

        with Screen() as screen, interrupt.deferred():
            number = _find_lanes(settings) if lanes == "auto" else int(lanes)
            take_turns(_jobs(due, settings, screen, sweeping, number), number)


def _find_lanes(settings: Sequence[dict[str, Any]]) -> int:
    from mtlsweep.train.packing import find_lanes

    found = find_lanes(settings)
    console.print(str(found))
    return found.number


def _jobs(due: Sequence[Task], settings: Sequence[dict[str, Any]], screen: Screen, sweeping: bool, lanes: int) -> "Iterator[Job[Any]]":
    """The runs, one by one as there is room for them."""
    forecast = Forecast(settings, lanes)
    for number, (task, frozen) in enumerate(zip(due, settings, strict=True)):
        interrupt.check_between()
        place, left = f"{number + 1}/{len(due)}", forecast.time_left()
        title = f"cell {number + 1} of {len(due)}{left}" if sweeping else task.cell.label
        display = Display(screen, title, prefix=f"[{place}] " if lanes > 1 else "")
        if sweeping:
            console.print(f"[{place}] {task.cell.label}{left}")
        yield job(task, frozen, display, partial(_count, forecast, number, task, time.monotonic()))


def job(task: Task, settings: dict[str, Any], display: Display, ended: Callable[[], object]) -> "Job[Any]":
    """The run of a task, which then knows what became of it.

    Args:
        task: due.
        settings: as `RunDirectory.prepare` returned them.
        display: where the run is shown.
        ended: called at its end.
    """
    from mtlsweep.train import Job  # loads torch

    later = f"{task.cell.label}: memory ran out; it goes on when another run has ended, and fewer take turns from now on"
    return Job(partial(_start, task, settings, display), partial(_ended, task, display, ended), partial(display.line, later))


def _count(forecast: Forecast, number: int, task: Task, began: float) -> None:
    forecast.ended(number, time.monotonic() - began if task.result else None)


def _start(task: Task, settings: dict[str, Any], display: Display) -> "Lane":
    from mtlsweep.train import on_lane

    # What another process has done again meanwhile is not done a third time.
    return on_lane(task.directory, settings, display, anew=task.action == "redo" and not task.begun)


def _ended(task: Task, display: Display, then: Callable[[], object], outcome: dict[str, Any] | BaseException) -> None:
    display.end()
    if isinstance(outcome, Taken):
        task.action, task.status = "taken", Status(State.running, error=str(outcome))
        display.line(f"{task.cell.label}: {outcome}")
    elif isinstance(outcome, BaseException):
        # Of the exception only its text is kept: its traceback holds the network, the data and all activations.
        task.status = Status(State.failed, error=summary(outcome))
        display.line(f"failed: {task.status.error} (traceback in {task.directory / 'run.log'})")
    else:
        task.result, task.status = outcome, Status(State(outcome["status"]))
    then()


def _print_finished(task: Task) -> None:
    from mtlsweep.train.log import final_line

    if not task.result:
        console.print(f"{task.cell.label}: {task.taken_by}")
        return
    console.print(final_line(task.cell.options, task.result))
    console.print(f"done already, in {task.directory.path}; rerun=all does it again")
    weights = task.cell.settings["save"]
    if weights != "none" and not (task.directory / f"{weights}.pt").exists():
        console.print(f"its weights were not kept ({weights}.pt is not there); rerun=all makes them")
