"""Runs the cells of a sweep that are missing, one after another, and says what became of all of them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from mtlsweep import interrupt
from mtlsweep.errors import UserError, summary
from mtlsweep.forecast import Forecast
from mtlsweep.plan import Task, cell_count, check, plan, print_plan, print_summary
from mtlsweep.progress import Display, console
from mtlsweep.runs import Cell, State, Status, SweepRecord, Taken


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
        UserError: a part cannot be built or a directory cannot be used, or a launcher was chosen for a single run; nothing has been trained
            then.
        KeyboardInterrupt: the user ended it; the run at hand continues from its checkpoint when it is asked for again.
    """
    if not record_in:
        _check_launcher()
    found = plan(cells)
    tasks = list(found.values())
    check(tasks)
    if cells[0].settings["dry_run"]:
        print_plan(tasks)
        return [found[cell.directory] for cell in cells]
    due = [task for task in tasks if task.due]
    if record_in:
        SweepRecord.write(record_in, cells)
        launched.extend(tasks)
    settings = [task.directory.prepare(task.cell) for task in due]
    began = time.monotonic()
    try:
        execute_all(tasks, settings, sweeping=bool(record_in))
    except KeyboardInterrupt:
        done = sum(task.result is not None for task in tasks)
        anew = any(task.action == "redo" for task in tasks)
        console.print(f"interrupted, {done} of {len(tasks)} done: the same command{' without rerun' if anew else ''} continues")
        raise
    if record_in:
        print_summary(tasks, time.monotonic() - began)
    return [found[cell.directory] for cell in cells]


def _check_launcher() -> None:
    """Hydra passes over the launcher of a single run without a word, and would train here what was meant for a cluster."""
    chosen = HydraConfig.get().runtime.choices["hydra/launcher"] if HydraConfig.initialized() else "local"
    if chosen != "local":
        raise UserError(f"hydra/launcher={chosen}: launchers execute sweeps; add -m, which makes a sweep of one cell too")


def execute_all(tasks: Sequence[Task], settings: Sequence[dict[str, Any]], sweeping: bool) -> None:
    """Execute those tasks that are due, one after another.

    Args:
        tasks: all of a sweep.
        settings: of those that are due, as `RunDirectory.prepare` returned them.
        sweeping: whether to count the runs; a single one that is done already is shown.

    Raises:
        KeyboardInterrupt: the user ended it, or the time of the SLURM job that executes it is up.
    """
    due = [task for task in tasks if task.due]
    if sweeping:
        console.print(f"{cell_count(tasks)}, {len(due)} to run")
    elif not due:
        _print_finished(tasks[0])
    forecast = Forecast(settings)
    with Display() as display:
        for number, (task, frozen) in enumerate(zip(due, settings, strict=True), start=1):
            interrupt.check_between()
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
        console.print(f"{task.cell.label}: {task.taken_by}")
        return
    console.print(final_line(task.cell.options, task.result))
    console.print(f"done already, in {task.directory.path}; rerun=all does it again")
    weights = task.cell.settings["save"]
    if weights != "none" and not (task.directory / f"{weights}.pt").exists():
        console.print(f"its weights were not kept (save={weights} was not asked for then); rerun=all makes them")
