"""Ctrl-C, SIGTERM and the end of a job's time, at a point where nothing is half done.

Python raises KeyboardInterrupt wherever it happens to be. In the middle of `torch.save` that becomes a RuntimeError of torch's own, and
where C code calls back into Python it is lost: an interrupted run would count as failed, or go on. So while a run executes a signal is
only noted, and raised at the next step.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_requested = threading.Event()
# Within `in_job`: SLURM has said that it will end this process; and the moment by which it has to leave of its own accord, if it has to.
_announced = threading.Event()
_leave_by: list[float] = []


class TimeIsUp(KeyboardInterrupt):
    """The job's time is nearly up: time for a run between two epochs to leave, while others may come to the end of theirs."""


@contextmanager
def handled(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], object]]) -> Iterator[None]:
    """Within the block these signals are handled so; behind it as before."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block the first signal waits for `check`, or for the block's end; a second one is raised at once.

    Raises:
        KeyboardInterrupt: at the end, if a signal is waiting.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread can receive signals
        yield
        return
    # A signal that is ignored stays so: a shell starts background jobs with SIGINT ignored.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) not in (signal.SIG_IGN, _announce)]
    try:
        with handled(dict.fromkeys(numbers, _request)):
            yield
    finally:
        check()


@contextmanager
def in_job(time_up: signal.Signals, grace: float) -> Iterator[None]:
    """Within the block this process is a SLURM job's.

    SIGTERM comes at a preemption, at `scontrol requeue` and at `scancel`; SIGKILL follows. It is noted, no more: a preempted job that is
    killed is started again by SLURM, one that leaves of its own accord in the time of grace counts as failed.

    Args:
        time_up: the signal that comes when the job's time limit is near. Epochs that end in the time of grace are the last.
        grace: seconds after `time_up` by which `check` raises.
    """

    def time_is_nearly_up(number: int, frame: FrameType | None) -> None:
        _announced.set()
        _leave_by[:] = _leave_by or [time.monotonic() + grace]

    try:
        with handled({signal.SIGTERM: _announce, time_up: time_is_nearly_up}):
            yield
    finally:
        _announced.clear()
        _leave_by.clear()


def check() -> None:
    """Raise KeyboardInterrupt if a signal is waiting, or if the job's time of grace is over."""
    if _requested.is_set():
        _requested.clear()
        raise KeyboardInterrupt
    if _leave_by and time.monotonic() >= _leave_by[0]:
        raise KeyboardInterrupt


def check_between() -> None:
    """The same at the end of an epoch or between runs, where nothing would be lost: raise `TimeIsUp` too if it nearly is."""
    check()
    if time_is_up():
        raise TimeIsUp


def ending() -> bool:
    """Whether SLURM has said that it will end this process: what is not on disk by then is lost."""
    return _announced.is_set()


def time_is_up() -> bool:
    """Whether it will do so because of the job's time limit."""
    return bool(_leave_by)


def _request(number: int, frame: FrameType | None) -> None:
    if _requested.is_set():
        check()
    _requested.set()


def _announce(number: int, frame: FrameType | None) -> None:
    _announced.set()
