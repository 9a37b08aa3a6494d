"""Steps of an epoch recorded once as a CUDA graph and replayed: one launch in place of hundreds.

A graph repeats what was done to memory, not Python: what a step reads must lie where it lay, and what depends on the epoch is a constant.
So every epoch records its own.
"""

import contextlib
import gc
from collections.abc import Callable
from typing import Protocol

import torch

# Steps of a run that are executed before one is recorded, in which libraries and the optimizer make what they keep.
WARMUP_STEPS = 3


class RecordingFailed(Exception):
    """A step did something that cannot be recorded; it has not been executed."""


class Recording(Protocol):
    """What was recorded."""

    def replay(self) -> None:
        """Do it again."""


# A step: indices of its images, their augmentation codes, its number in the epoch.
Body = Callable[[torch.Tensor, torch.Tensor, int], object]

# Records what a function does on the device, without doing it.
Record = Callable[[Callable[[], object], torch.Generator | None], Recording]


class CudaRecorder:
    """Records what a run does as CUDA graphs, on the current stream, which must not be the default one.

    All of a run's graphs take their memory from one pool. The last one is kept until there is a newer one: a pool that no graph uses is
    given up, and every epoch would ask for new memory.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._last: torch.cuda.CUDAGraph | None = None
        self._latest: torch.cuda.CUDAGraph | None = None

    def __call__(self, body: Callable[[], object], generator: torch.Generator | None) -> Recording:
        """Record a function.

        Args:
            body: launches work on the device, and never waits for it.
            generator: what the body draws random numbers from, if not torch's own: every replay draws new ones.

        Raises:
            RecordingFailed: the body did something that a graph cannot repeat.
        """
        graph = self._latest = torch.cuda.CUDAGraph()  # kept also if it fails: torch 2.11's allocator may still refer to it
        collecting = gc.isenabled()
        gc.disable()  # what it would free, of this run or another, is no part of the step
        try:
            if generator is not None:
                graph.register_generator_state(generator)
            # torch.cuda.graph() also waits for the whole device and empties its cache, which would stall the runs beside this one.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                body()
            except BaseException:
                with contextlib.suppress(RuntimeError):  # which says no more than that the capture was invalid
                    graph.capture_end()
                raise
            graph.capture_end()
        except RuntimeError as error:
            raise RecordingFailed(str(error)) from error
        finally:
            if collecting:
                gc.enable()
        self._last = graph
        return graph


class Replayer:
    """Executes the steps of one epoch: the first of each kind is recorded, the rest are replays.

    Args:
        record: records a step.
        indices, codes: of a full mini-batch, `(B,)` and `(3, B)`; only their shape and type matter.
        generator: see `CudaRecorder`.
    """

    def __init__(
        self,
        record: Record,
        indices: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> None:
        self._record = record
        self._indices = indices.clone()
        self._codes = codes.clone()
        self._generator = generator
        self._recordings: dict[bool, Recording] = {}

    def step(self, body: Body, indices: torch.Tensor, codes: torch.Tensor, step: int, due: bool) -> None:
        """One step.

        Args:
            body: executes it, on tensors that it is given.
            indices, codes: of its mini-batch.
            step: its number in the epoch.
            due: whether the strategy computes its weights anew in it, or uses those that it has: two kinds of step.

        Raises:
            RecordingFailed: the step was not executed.
        """
        self._indices.copy_(indices)
        self._codes.copy_(codes)
        if due not in self._recordings:
            self._recordings[due] = self._record(lambda: body(self._indices, self._codes, step), self._generator)
        self._recordings[due].replay()
