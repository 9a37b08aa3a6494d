"""Work beside the rest, on a CUDA stream of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Aside:
    """Takes what the other launches leave of a GPU, also where a step is recorded: there it is a branch of the graph.

    What it reads may be freed only after `join`, for the current stream could write there before it has been read. On a CPU all is one.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Work that waits for all that the current stream has been given so far, and for nothing that it is given later."""
        if not self._stream:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """The current stream waits for the work."""
        if self._stream:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
