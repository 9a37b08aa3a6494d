"""What a run does again and again is recorded once as a CUDA graph and replayed: one launch in place of hundreds.

A graph repeats what was done to memory, not Python: what it reads and writes must stay where it lay, and Python's numbers are constants.
"""

import contextlib
import gc
from collections.abc import Callable, Hashable
from typing import Protocol

import torch

# Steps of a run that are executed before one is recorded, in which libraries and the optimizer make what they keep.
WARMUP_STEPS = 3


# Recordings that failed are kept: torch 2.11's allocator may still refer to them.
_failed: list[torch.cuda.CUDAGraph] = []


class RecordingFailed(Exception):
    """Something was done that cannot be recorded. The device has done none of it; what Python did, it did."""


class Recording(Protocol):
    """What was recorded."""

    def replay(self) -> None:
        """Do it again."""


# Launches work on the device, and never waits for it.
Body = Callable[[], object]


class Recorder(Protocol):
    """Records what a run does."""

    def __call__(self, body: Body, generator: torch.Generator | None) -> Recording:
        """Record what a function does on the device, without doing it.

        Args:
            body: what it reads and writes later on must exist already: memory that it asks for itself is used again by other recordings.
            generator: what the body draws random numbers from, if not torch's own: every replay draws new ones.

        Raises:
            RecordingFailed: the body did something that cannot be repeated; the device has done none of it.
        """

    def settle(self) -> None:
        """Memory that was needed only for what Python executed before the recordings is given back."""


class CudaRecorder:
    """A recorder of CUDA graphs, on the current stream, which must not be the default one.

    All of a run's graphs, which never run at the same time, take their memory from one pool; runs do run at the same time, and have a
    pool each.
    The last one is kept until there is a newer one: a pool that no graph uses any more is given up.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._last: torch.cuda.CUDAGraph | None = None

    def __call__(self, body: Body, generator: torch.Generator | None) -> Recording:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        collecting = gc.isenabled()
        gc.disable()  # what it would free, of this run or another, is no part of the step
        try:
            if generator is not None:
                graph.register_generator_state(generator)
            # torch.cuda.graph() also waits for the whole device and empties its cache, which would stall the runs beside this one.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                body()
                graph.capture_end()
            except BaseException:
                _give_up(graph, self._pool)
                raise
        except Exception as error:  # of many types: what it was, a step that Python executes will tell
            raise RecordingFailed(str(error) or type(error).__name__) from error
        finally:
            if collecting:
                gc.enable()
        self._last = graph
        return graph

    def settle(self) -> None:
        """See `Recorder`; the memory of this process is looked through once, which waits for the device."""
        torch.cuda.empty_cache()


def _give_up(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """End a recording that has failed, so that the allocator serves it no longer."""
    _failed.append(graph)
    with contextlib.suppress(RuntimeError):  # which says no more than that the recording was invalid
        graph.capture_end()
    # Where that raised, it has not told the allocator. The function has no public name; torch's own MemPool contexts use it.
    with contextlib.suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
    with contextlib.suppress(RuntimeError):
        _record_something()


def _record_something() -> None:
    """In torch 2.11 torch's own generator, part of every recording, cannot be drawn from after one that failed until another succeeds."""
    number, graph = torch.zeros((), device="cuda"), torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    number.add_(1)
    graph.capture_end()


class Replayer:
    """Does what was recorded again, and records it the first time.

    Args:
        record: the run's recorder.
    """

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._recordings: dict[Hashable, Recording] = {}

    def do(self, kind: Hashable, body: Body, generator: torch.Generator | None = None) -> None:
        """What was recorded under this name; if nothing was, the body.

        Raises:
            RecordingFailed: nothing has been done.
        """
        if kind not in self._recordings:
            self._recordings[kind] = self._record(body, generator)
        self._recordings[kind].replay()

    def forget(self) -> None:
        """Record everything anew: a constant of it has changed."""
        self._recordings.clear()
