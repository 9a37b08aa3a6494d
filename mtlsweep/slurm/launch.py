"""Launches a sweep on SLURM: what is missing is frozen and submitted; what is submitted is followed, or left."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtlsweep import interrupt, sweep
from mtlsweep.dry_run import print_plan
from mtlsweep.errors import UserError
from mtlsweep.frozen import FrozenCell
from mtlsweep.plan import Task, check, plan, print_summary
from mtlsweep.progress import console
from mtlsweep.runs import Cell, State, SweepRecord
from mtlsweep.runs.provenance import write_changes
from mtlsweep.slurm.follow import follow
from mtlsweep.slurm.options import Options
from mtlsweep.slurm.queue import Job, listed
from mtlsweep.slurm.submission import Submission, waiting
from mtlsweep.words import plural


def launch(cells: Sequence[Cell], record_in: Path, options: Options) -> list[Task]:
    """Submit what is missing of these cells and is not in SLURM's queue already; then follow all of it, if `options.wait`.

    Args:
        cells: composed and checked.
        record_in: the folder that keeps what the sweep was asked for, and the jobs' logs.
        options: of the jobs.

    Raises:
        UserError: a part cannot be built, a directory cannot be used, SLURM refuses the jobs or does not answer.
        KeyboardInterrupt: the user has stopped following; the jobs go on.
    """
    found = plan(cells)
    tasks = list(found.values())
    jobs = listed()
    submissions = _find_queued(tasks, jobs or {})
    check(tasks, here=False)
    if cells[0].settings["dry_run"]:
        print_plan(tasks)
        return [found[cell.directory] for cell in cells]
    if jobs is None and shutil.which("squeue"):
        raise UserError("SLURM does not say what is in its queue: nothing was submitted, for it may be there already; try again")
    SweepRecord.write(record_in, cells)
    began = time.monotonic()
    due = [task for task in tasks if task.due]
    console.print(f"{plural(len(tasks), 'cell')}, {len(due)} to run, {sum(task.action == 'queued' for task in tasks)} in the queue")
    sweep.ask_redo(due)
    try:
        if due:
            _submit(due, record_in, options, submissions)
        if options.wait:
            sweep.launched.extend(tasks)
            console.print("following the jobs; Ctrl-C leaves them running")
            follow(tasks, submissions)
    except KeyboardInterrupt:
        if submissions:
            console.print("the jobs go on; the same command follows them again")
            _print_commands(tasks[0].cell, submissions)
        raise
    if options.wait:
        print_summary(tasks, time.monotonic() - began)
    elif submissions:
        _print_commands(tasks[0].cell, submissions)
    return [found[cell.directory] for cell in cells]


def _find_queued(tasks: Sequence[Task], jobs: Mapping[str, Job]) -> dict[str, Submission]:
    """Mark the tasks that one of these jobs, of SLURM's queue, will run or is running; the jobs."""
    known = waiting(tasks[0].cell.study_dir, jobs)
    submissions = {}
    for task in tasks:
        job, submission = known.get(task.directory.path, (None, None))
        # A running job does not try a cell again that has failed in it.
        if job and submission and task.action != "done" and (task.status.state is not State.failed or job.state == "PENDING"):
            task.action, task.job = "queued", job.id
            submissions[job.id] = submission
    return submissions


def _submit(due: Sequence[Task], folder: Path, options: Options, submissions: dict[str, Submission]) -> None:
    """Submit tasks; by its jobs' ids the submission is added to the others, array by array."""
    from mtlsweep.slurm.submit import submit  # loads submitit

    frozen = {task.directory.path.expanduser().absolute(): task for task in due}
    cells = [FrozenCell.of(task, task.directory.prepare(task.cell), options.cpus) for task in due]
    study = due[0].cell.study_dir
    name = options.job_name or study.name
    submission = Submission.begin(folder, name)
    write_changes(folder / "code.diff")
    arrays = submit(cells, options, folder, name)
    while True:
        with interrupt.deferred():  # what SLURM has taken is recorded
            array = next(arrays, None)
            if array is None:
                return
            _record(array, frozen, submission, study)
            submissions |= dict.fromkeys(submission.jobs, submission)


def _record(array: Mapping[str, Sequence[FrozenCell]], frozen: Mapping[Path, Task], submission: Submission, study: Path) -> None:
    """Keep and say which jobs were submitted, and of what."""
    of_job = {job: [frozen[cell.directory] for cell in group] for job, group in array.items()}
    submission.add({job: [str(task.directory.path.relative_to(study)) for task in group] for job, group in of_job.items()})
    for job, group in of_job.items():
        for task in group:
            task.job = job
    count = sum(map(len, of_job.values()))
    console.print(f"submitted {plural(count, 'cell')} as {_names(of_job)}; logs in {submission.log('JOB')}")


def _print_commands(cell: Cell, jobs: dict[str, Submission]) -> None:
    study = cell.study_dir
    console.print(f"how far they are:  python -m mtlsweep status {study}")
    console.print(f"the table:         python -m analysis {study}")
    console.print(f"end them:          scancel {' '.join(_arrays(jobs))}")


def _names(jobs: dict[str, list[Task]]) -> str:
    arrays = _arrays(jobs)
    return f"SLURM job {' '.join(arrays)}" + (f", {len(jobs)} array tasks" if len(jobs) > 1 else "")


def _arrays(jobs: dict[str, Submission] | dict[str, list[Task]]) -> list[str]:
    return list(dict.fromkeys(job.partition("_")[0] for job in jobs))
