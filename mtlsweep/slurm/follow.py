"""Follows the jobs of a sweep until the last one has ended."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.live import Live
from rich.text import Text

from mtlsweep.plan import Task
from mtlsweep.progress import console
from mtlsweep.runs import State
from mtlsweep.slurm import queue
from mtlsweep.slurm.ends import how_it_ended
from mtlsweep.slurm.submission import Submission
from mtlsweep.status import Running, running_table
from mtlsweep.words import counts

# Results may be written on another machine: a file may be seen only this many polls after the end of the job that wrote it.
POLLS_AFTER_END = 2


def follow(tasks: Sequence[Task], submissions: Mapping[str, Submission]) -> None:
    """Wait for every task that has a job; give it its status and result, or say why there is none.

    Args:
        tasks: of the sweep.
        submissions: that of each job.

    Raises:
        KeyboardInterrupt: the user has stopped it.
    """
    follower = _Follower(tasks, submissions)
    began = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while follower.poll():
            if console.is_terminal:
                live.update(follower.picture(), refresh=True)
            time.sleep(queue.pause(time.monotonic() - began))


class _Follower:
    def __init__(self, tasks: Sequence[Task], submissions: Mapping[str, Submission]) -> None:
        self._tasks = tasks
        self._submissions = submissions
        self._waiting = {task.directory.path: task for task in tasks if task.job}
        self._count = len(self._waiting)
        self._states: dict[str, str] = {}
        self._told: set[str] = set()
        self._absent: dict[str, int] = {}

    def poll(self) -> bool:
        """Look once; whether there is something left to wait for."""
        listed = queue.listed()
        if listed is None:  # SLURM does not answer, which says nothing about the jobs
            return bool(self._waiting)
        self._states = {job.id: job.state for job in listed.values()}
        jobs = {task.job or "" for task in self._waiting.values()}
        self._absent = {job: self._absent.get(job, 0) + 1 for job in jobs if job not in listed}
        self._say_what_they_wait_for([job for job in listed.values() if job.id in jobs])
        for task in [task for task in self._waiting.values() if task.directory.result() and not task.has_old_result]:
            self._settle(task, {})
        gone = [task for task in self._waiting.values() if self._absent.get(task.job or "", 0) >= POLLS_AFTER_END]
        ends = queue.ended_as({task.job or "" for task in gone}) if gone else {}
        for task in gone:
            self._settle(task, ends)
        return bool(self._waiting)

    def picture(self) -> Group:
        """What is going on, for a terminal."""
        running = [
            Running.of(task.directory, task.cell.label, task.cell.settings["schedule"]["epochs"], f"job {task.job}")
            for task in self._waiting.values()
            if self._is_running(task)
        ]
        return Group(running_table(running), Text(counts([self._word(task) for task in self._tasks])))

    def _say_what_they_wait_for(self, jobs: Sequence[queue.Job]) -> None:
        """Each reason once: a job may wait for ever, and only SLURM knows why."""
        for job in jobs:
            if job.state != "RUNNING" and job.reason not in {"None", *self._told}:
                self._told.add(job.reason)
                console.print(f"job {job.id} waits: {job.reason}" + (f" (scontrol release {job.id.partition('_')[0]})" if job.held else ""))

    def _settle(self, task: Task, ends: Mapping[str, str]) -> None:
        del self._waiting[task.directory.path]
        task.look_again()
        job = task.job or ""
        if task.status.state is State.running:
            task.action = "taken"
        elif task.status.state in (State.pending, State.interrupted):
            log = self._submissions[job].log(job)
            task.lost = f"job {job} ended as {how_it_ended(ends.get(job, 'unknown'), log)} (log: {log})"
        done = self._count - len(self._waiting)
        console.print(f"[{done}/{self._count}] {task.outcome}: {task.cell.label}{_detail(task)}")

    def _word(self, task: Task) -> str:
        if task.directory.path not in self._waiting:
            return task.outcome
        return "running" if self._is_running(task) else "queued"

    def _is_running(self, task: Task) -> bool:
        begun = task.begun or task.status.state is State.running
        return begun and self._states.get(task.job or "") == "RUNNING"


def _detail(task: Task) -> str:
    if task.result:
        return f", best fine accuracy {task.result['best_fine_acc']:.2f} %"
    return f": {task.taken_by if task.outcome == 'taken' else task.error}"
