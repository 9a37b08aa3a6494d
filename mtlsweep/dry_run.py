"""`dry_run=true`: what a command would do, and what it would cost."""

from collections.abc import Sequence

from mtlsweep.plan import Task
from mtlsweep.progress import console
from mtlsweep.study.cost import Cost
from mtlsweep.study.survey import Survey
from mtlsweep.words import counts


def print_plan(tasks: Sequence[Task]) -> None:
    """What a dry run says."""
    for task in tasks:
        console.print(f"{task.action:8} {task.status.state.value:11} {task.cell.label}  {task.directory.path}")
    due = {task.directory.path: task.cell.identity for task in tasks if task.due}
    anew = {task.directory.path for task in tasks if task.action == "redo"}
    cost = f"; {Cost.of_rest(Survey.of(tasks[0].cell.study_dir).entries, due, anew).rest}" if due else ""
    console.print(f"dry run, nothing trained: {counts([task.action for task in tasks])}{cost}")
