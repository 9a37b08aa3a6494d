"""Several runs at once in one process: they take turns, a step each.

On a GPU a step is only asked for, not waited for, so that the steps of several small networks fill what one would leave idle. What a run
gives does not depend on who takes turns with it: everything that runs share in a process is put back before a run's turn.
"""

import gc
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from mtlsweep.interrupt import TimeIsUp
from mtlsweep.train.kernels import memory_ran_out

Result = TypeVar("Result")


class Awaited(Protocol):
    """Something that a device will have done."""

    def query(self) -> bool:
        """Whether it has."""


# A run that pauses may say what it waits for: a turn before that would only wait.
Turns = Generator[Awaited | None, None, Result]

# Seconds between two looks at a device that all of several runs wait for.
POLL_SECONDS = 5e-5

# A GPU serves 8 streams at a time unless told otherwise before its first use, and at most 32; lanes beyond would wait for each other's work
# (NVIDIA, CUDA C++ Programming Guide, environment variables). What it gains has not been measured.
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")

# Streams of lanes that have ended. The memory that torch keeps for a stream's next use is of no use to another stream.
_idle_streams: dict[torch.device, list[torch.cuda.Stream]] = defaultdict(list)


def until_done(device: torch.device) -> Turns[None]:
    """Pause until a device has done what it was asked for: runs that take turns with this one go on meanwhile."""
    if device.type == "cuda":
        event = torch.cuda.Event(blocking=True)
        event.record()
        yield event
        event.synchronize()


class Lane:
    """A run that takes turns, and what it would share with others: a CUDA stream, torch's threads, the global random generators.

    Args:
        turns: of the run.
        device: of the run.
        draws: whether anything in the run may draw from the global generators; keeping them apart takes a tenth of a millisecond a turn.
    """

    def __init__(self, turns: Turns[Any], device: torch.device, draws: bool = True) -> None:
        self._turns = turns
        self._awaited: Awaited | None = None
        # Its own even when it is alone: work on the default stream cannot be recorded as a graph.
        self._stream = _stream(device) if device.type == "cuda" else None
        self._device = device
        self._generators = _generators(device) if draws else None
        self._threads = torch.get_num_threads()

    def turn(self) -> None:
        """One step.

        Raises:
            StopIteration: the run has ended; its value is the run's.
            Exception: what the run raised.
        """
        try:
            with self._own():
                self._awaited = next(self._turns)
        except BaseException:
            self._leave()
            raise

    @property
    def ready(self) -> bool:
        """Whether its next turn would do more than wait for the device."""
        try:
            return self._awaited is None or self._awaited.query()
        except RuntimeError:  # of the device: the turn raises it again, where it is the run's
            return True

    def interrupt(self) -> None:
        """End the run as Ctrl-C does; it records that it was interrupted."""
        with self._own():
            try:
                self._turns.throw(KeyboardInterrupt())
            except (KeyboardInterrupt, StopIteration):
                return
            finally:
                self._leave()

    def _leave(self) -> None:
        if self._stream:
            _idle_streams[self._device].append(self._stream)
            self._stream = None

    @contextmanager
    def _own(self) -> Iterator[None]:
        if self._generators:
            _restore(self._generators, self._device)
        torch.set_num_threads(self._threads)
        try:
            with torch.cuda.stream(self._stream) if self._stream else nullcontext():
                yield
        finally:
            self._generators = _generators(self._device) if self._generators else None
            self._threads = torch.get_num_threads()


class FairClock:
    """A clock that goes slower by the number of runs that take turns: what it measures of each adds up to the time of all.

    Which of them a GPU worked for in between cannot be told from the host, where work is asked for and waited for all together.
    """

    def __init__(self) -> None:
        self._runs, self._sum, self._since = 1, 0.0, time.monotonic()

    def now(self) -> float:
        """Seconds since some moment, each divided by the runs that were going on."""
        return self._sum + (time.monotonic() - self._since) / self._runs

    def divide_by(self, runs: int) -> None:
        """From here on so many runs take turns."""
        self._sum, self._since, self._runs = self.now(), time.monotonic(), max(1, runs)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Within the block, in which no run takes a turn, it does not go on."""
        stopped_at = self.now()
        try:
            yield
        finally:
            self._sum, self._since = stopped_at, time.monotonic()


fair_clock = FairClock()


class Job(NamedTuple, Generic[Result]):
    """A run that waits for a lane.

    Attributes:
        start: puts it on a lane.
        ended: is told its result, or the exception that it ended with.
        postponed: is told that memory ran out beside others, so that it is started again when one of them has ended.
    """

    start: Callable[[], Lane]
    ended: Callable[[Result | BaseException], None]
    postponed: Callable[[], None] = lambda: None


class _Waiting(Generic[Result]):
    """The runs that are to come, first those that had begun, and how many there may be at a time."""

    def __init__(self, jobs: Iterable[Job[Result]], lanes: int) -> None:
        self._jobs = iter(jobs)
        self._again: list[Job[Result]] = []
        self.lanes = lanes

    def next(self) -> Job[Result] | None:
        return self._again.pop(0) if self._again else next(self._jobs, None)

    def put_back(self, job: Job[Result], beside: int) -> None:
        """Memory was not enough for it beside so many."""
        self._again.append(job)
        self.lanes = beside
        job.postponed()


def take_turns(jobs: Iterable[Job[Result]], lanes: int) -> None:
    """Execute runs, so many at a time; one that ends or fails ends alone. Where the device's memory is not enough for so many there are
    fewer at a time from then on.

    Raises:
        KeyboardInterrupt: it came in a run's turn; all that had begun have been interrupted. Where it is `TimeIsUp` each of them has ended
            between two of its epochs, and no other was begun.
    """
    waiting = _Waiting(jobs, lanes)
    going: dict[Lane, Job[Result]] = {}
    time_is_up = False
    try:
        while True:
            time_is_up = time_is_up or not _fill(going, waiting)
            fair_clock.divide_by(len(going))
            if not going and time_is_up:
                raise TimeIsUp
            if not going:
                return
            for lane in ready(list(going)):
                time_is_up |= not _take_turn(lane, going, waiting)
    except KeyboardInterrupt:
        for lane in going:
            lane.interrupt()
        raise


def ready(lanes: Sequence[Lane]) -> Sequence[Lane]:
    """Those whose turn it is: all that need not wait for their device. One alone waits in its turn, without looking again and again."""
    while not (found := [lane for lane in lanes if len(lanes) == 1 or lane.ready]):
        time.sleep(POLL_SECONDS)
    return found


def _fill(going: dict[Lane, Job[Result]], waiting: _Waiting[Result]) -> bool:
    """Begin runs while there are any and there is room; whether there is time for them."""
    try:
        while len(going) < waiting.lanes:
            job = waiting.next()
            if job is None:
                break
            try:
                going[job.start()] = job
            except (Exception, SystemExit) as error:
                job.ended(error)
    except TimeIsUp:
        return False
    return True


def _take_turn(lane: Lane, going: dict[Lane, Job[Any]], waiting: _Waiting[Any]) -> bool:
    """Whether there is time for more than the runs that are going on: if not, the lane's has just left."""
    try:
        ended = _turn(lane)
    except TimeIsUp:
        del going[lane]
        return False
    if ended is None:
        return True
    job = going.pop(lane)
    if going and isinstance(ended[0], Exception) and memory_ran_out(ended[0]):
        waiting.put_back(job, len(going))
    else:
        job.ended(ended[0])
    return True


def _turn(lane: Lane) -> tuple[Any] | None:
    """What the run ended with, if it did."""
    try:
        lane.turn()
    except StopIteration as end:
        return (end.value,)
    except (Exception, SystemExit) as error:
        return (error,)
    return None


def _stream(device: torch.device) -> torch.cuda.Stream:
    # What runs that have ended leave in the device's memory: their graphs' belongs to no stream.
    gc.collect()
    torch.cuda.empty_cache()
    # Of a higher priority than the streams of work that nothing waits for (`aside`).
    return _idle_streams[device].pop() if _idle_streams[device] else torch.cuda.Stream(device, priority=-1)


def _generators(device: torch.device) -> tuple[Any, ...]:
    of_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), of_cuda


def _restore(states: tuple[Any, ...], device: torch.device) -> None:
    of_torch, of_numpy, of_python, of_cuda = states
    if of_cuda is not None:
        torch.cuda.set_rng_state(of_cuda, device)
    torch.set_rng_state(of_torch)
    np.random.set_state(of_numpy)
    random.setstate(of_python)
