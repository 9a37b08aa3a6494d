"""Work beside the rest, on a CUDA stream of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Aside:
    """Takes what the other launches leave of a GPU, also where a step is recorded: there it is a branch of the graph.

    What it reads may be freed after `join`, and what it made after `leave`: before, another stream could write there. A CPU has no streams.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def follow(self) -> None:
        """The work to come waits for all that the current stream has been given so far, and for nothing that it is given from here on."""
        if self._stream:
            self._stream.wait_stream(self._current())

    @contextmanager
    def work(self) -> Iterator[None]:
        """Within the block launches are this work."""
        with torch.cuda.stream(self._stream):  # of None: as it is
            yield

    def join(self) -> None:
        """The current stream waits for the work."""
        if self._stream:
            self._current().wait_stream(self._stream)

    def leave(self) -> None:
        """The current stream has been given all that reads what was made. torch has few streams, and this one may be another run's too, to
        which the memory goes next; a graph's memory is its own."""
        if self._stream and not torch.cuda.is_current_stream_capturing():
            self._stream.wait_stream(self._current())

    def _current(self) -> torch.cuda.Stream:
        return torch.cuda.current_stream(self._device)
