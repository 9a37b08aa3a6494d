"""Runs the cells of a sweep in several processes on this machine: each takes the next cell when it has finished one."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from mtlsweep import interrupt
from mtlsweep.forecast import Forecast
from mtlsweep.frozen import FrozenCell
from mtlsweep.plan import Task
from mtlsweep.processes import WORKER
from mtlsweep.processes.machine import Share
from mtlsweep.processes.worker import Ended, Order
from mtlsweep.progress import console
from mtlsweep.status import Running, running_table
from mtlsweep.words import plural

# Between two looks at processes that say nothing, and at Ctrl-C.
POLL_SECONDS = 0.5


def execute_in_processes(tasks: Sequence[Task], settings: Sequence[dict[str, Any]], shares: Sequence[Share], lanes: int) -> None:
    """Execute those tasks that are due, and note what became of them.

    Args:
        tasks: all of a sweep.
        settings: of those that are due, as `RunDirectory.prepare` returned them.
        shares: of the machine, one for each process.
        lanes: how many cells take turns in a process.

    Raises:
        KeyboardInterrupt: the user ended it; so did every process.
    """
    due = [task for task in tasks if task.due]
    console.print(f"{plural(len(tasks), 'cell')}, {len(due)} to run in {len(shares)} processes")
    if due:
        _Pool(due, settings, shares, lanes).run()


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    share: Share
    taken: int = 0
    at_work: set[int] = field(default_factory=set)

    @classmethod
    def start(cls, share: Share, lanes: int) -> "_Worker":
        ours, theirs = Pipe()
        command = [sys.executable, *WORKER, str(theirs.fileno()), str(lanes)]
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        # A session of its own: Ctrl-C reaches every process of the terminal, and these are told by the sweep's.
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": path} | share.environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        return cls(process, ours, share)

    @property
    def end(self) -> str:
        """How it ended, for people."""
        status = self.process.wait()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return f"process {self.process.pid} {how}"


class _Pool:
    def __init__(self, due: Sequence[Task], settings: Sequence[dict[str, Any]], shares: Sequence[Share], lanes: int) -> None:
        self._due = due
        self._cells = [FrozenCell.of(task, frozen, shares[0].threads) for task, frozen in zip(due, settings, strict=True)]
        self._lanes = lanes
        self._forecast = Forecast(settings, len(shares) * lanes)
        self._waiting = deque(range(len(due)))
        self._began: dict[int, float] = {}
        self._drawn = 0.0
        self._interrupted = False
        self._last_end = ""
        self._workers: list[_Worker] = []
        self._shares = shares

    def run(self) -> None:
        try:
            with Live(console=console, auto_refresh=False, transient=True) as live, interrupt.deferred():
                self._workers += [_Worker.start(share, self._lanes) for share in self._shares[: len(self._due)]]
                while self._workers:
                    try:
                        interrupt.check()
                        self._serve(live)
                    except KeyboardInterrupt:
                        self._interrupted = True
                        self._waiting.clear()
                        for worker in self._workers:
                            worker.process.terminate()
        finally:
            for worker in self._workers:  # none, unless something is wrong here
                worker.process.kill()
        if self._interrupted:
            raise KeyboardInterrupt
        for number in self._waiting:
            self._due[number].lost = f"no process could be started that would run it ({self._last_end})"

    def _serve(self, live: Live) -> None:
        """Hear what the processes have to say."""
        ready = wait([worker.connection for worker in self._workers], POLL_SECONDS)
        for worker in list(self._workers):
            if worker.connection in ready:
                self._hear(worker)
            elif worker.process.poll() is not None:  # a child of its own may have kept its end of the connection
                self._lose(worker)
        if console.is_terminal and time.monotonic() - self._drawn > POLL_SECONDS:
            self._drawn = time.monotonic()
            live.update(self._picture(), refresh=True)

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
            if isinstance(message, str):
                console.print(message)
            elif isinstance(message, Ended):
                self._settle(worker, message)
            else:
                worker.connection.send(self._next(worker))
        except (EOFError, OSError):
            self._lose(worker)

    def _next(self, worker: _Worker) -> Order | None:
        if not self._waiting:
            return None
        number = self._waiting.popleft()
        place = f"[{number + 1}/{len(self._due)}] "
        console.print(f"{place}{self._due[number].cell.label}{self._forecast.time_left()}")
        self._began[number] = time.monotonic()
        worker.at_work.add(number)
        worker.taken += 1
        return Order(number, place, self._cells[number])

    def _settle(self, worker: _Worker, ended: Ended) -> None:
        worker.at_work.remove(ended.number)
        task = self._due[ended.number]
        task.action, task.status, task.result, task.lost = ended.task.action, ended.task.status, ended.task.result, ended.task.lost
        self._forecast.ended(ended.number, time.monotonic() - self._began[ended.number] if task.result else None)

    def _lose(self, worker: _Worker) -> None:
        """A process has ended; what it had not finished goes on when it is asked for again."""
        self._workers.remove(worker)
        worker.connection.close()
        self._last_end = end = worker.end
        for number in sorted(worker.at_work):
            task = self._due[number]
            task.look_again()
            if not task.result and not self._interrupted:
                task.lost = end
                console.print(f"[{number + 1}/{len(self._due)}] {task.outcome}: {task.cell.label}: {end}")
            self._forecast.ended(number, None)
        if self._waiting and worker.taken:
            self._workers.append(_Worker.start(worker.share, self._lanes))

    def _picture(self) -> Group:
        running = [
            Running.of(task.directory, task.cell.label, task.cell.settings["schedule"]["epochs"], f"process {worker.process.pid}")
            for worker in self._workers
            for task in map(self._due.__getitem__, sorted(worker.at_work))
        ]
        return Group(running_table(running), Text(f"{len(self._waiting)} wait"))
