"""`python -m mtlsweep cancel STUDY`: ends what is queued and what is running of one study, and nothing else."""

import re
import socket
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import psutil

from mtlsweep.errors import UserError
from mtlsweep.processes import is_worker
from mtlsweep.progress import console
from mtlsweep.runs import owner as owners
from mtlsweep.slurm import queue
from mtlsweep.study.ask import confirm
from mtlsweep.study.survey import Entry, Survey
from mtlsweep.words import plural


def cancel(study: Path, yes: bool) -> bool:
    """End the SLURM jobs that were submitted for a study, and the processes on this machine that run its cells. What is done is kept.

    Args:
        study: its folder.
        yes: do not ask.

    Returns:
        Whether it was done: False where the user has said no.

    Raises:
        UserError: SLURM does not answer or refuses, or nobody can be asked.
    """
    survey = Survey.of(study)
    if survey.silent:
        raise UserError("SLURM does not answer: which jobs are the study's is not known")
    cells = [entry for entry in survey.entries if entry.queued and not entry.finished]
    processes = _processes(survey)
    for entry in _elsewhere(survey):
        console.print(f"cannot be ended from here: {entry.name}, run by {entry.record.owner}")
    if not survey.jobs and not processes:
        console.print(f"{study}: nothing of it is in SLURM's queue, and nothing of it is running on {socket.gethostname()}")
        return True
    jobs = [job.id for job in survey.jobs]
    if jobs:
        console.print(f"{plural(len(jobs), 'SLURM job')}, with {plural(len(cells), 'cell')}: {_shorten(jobs)}")
    for process in processes:
        console.print(f"process {process.pid}: {_command(process)}")
    if not confirm("end them?", yes):
        return False
    ended = [process for process in processes if _end(process)]
    refused = queue.cancel(jobs) if jobs else []
    if refused:
        raise UserError(f"SLURM does not end {_shorten(refused)}")
    what = f"{plural(len(jobs), 'SLURM job')}, {plural(len(ended), 'process', 'processes')}"
    console.print(f"ended: {what}; the command that began them continues from their checkpoints")
    return True


def _processes(survey: Survey) -> list[psutil.Process]:
    """The processes of this machine, without jobs of SLURM, that run cells of the study. In place of a process that a sweep has started,
    the sweep's own: it would start another, and ends all that it has started."""
    sweeps = {int(match[1]) for path in survey.study.glob(".sweeps/*") if (match := re.search(r"-(\d+)$", path.name))}
    found: dict[int, psutil.Process] = {}
    for entry in survey.having("running"):
        owner = entry.record.owner
        process = owners.process(owner) if owner and not owner.slurm_job else None
        if process:
            chosen = _sweep_of(process, sweeps) or process
            found[chosen.pid] = chosen
    return list(found.values())


def _sweep_of(process: psutil.Process, sweeps: Collection[int]) -> psutil.Process | None:
    """The sweep that has started a process. That its parent has the number of one of the study's sweeps says little: numbers are used
    again, and those of another container's or a copied study's sweeps are any process's here."""
    try:
        parent = process.parent() if is_worker(process.cmdline()) else None
    except psutil.Error:
        return None
    return parent if parent and parent.pid in sweeps else None


def _elsewhere(survey: Survey) -> Iterable[Entry]:
    ours = {job.number for job in survey.jobs}
    for entry in survey.having("running"):
        owner = entry.record.owner
        if owner and (owner.slurm_job not in ours if owner.slurm_job else not owner.is_here):
            yield entry


def _end(process: psutil.Process) -> bool:
    """As Ctrl-C does: the run leaves at its next step. (A shell starts background jobs with SIGINT ignored.) psutil makes sure that it is
    the same process still."""
    try:
        process.terminate()
        return True
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        console.print(f"process {process.pid} is another user's")
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return process.name()


def _shorten(jobs: Sequence[str]) -> str:
    """By array: `12 (300 tasks), 15`."""
    tasks: dict[str, int] = {}
    for job in jobs:
        array, _, task = job.partition("_")
        tasks[array] = tasks.get(array, 0) + bool(task)
    return ", ".join(f"{array} ({count} of its tasks)" if count else array for array, count in tasks.items())
