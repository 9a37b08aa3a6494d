"""Ctrl-C and SIGTERM at a point where nothing is half done.

Python raises KeyboardInterrupt wherever it happens to be. In the middle of `torch.save` that becomes a RuntimeError of torch's own, and
where C code calls back into Python it is lost: an interrupted run would count as failed, or go on. So while a run executes a signal is
only noted, and raised at the next step.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_requested = threading.Event()


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
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, _request) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        check()


def check() -> None:
    """Raise KeyboardInterrupt if a signal is waiting."""
    if _requested.is_set():
        _requested.clear()
        raise KeyboardInterrupt


def _request(number: int, frame: FrameType | None) -> None:
    if _requested.is_set():
        check()
    _requested.set()
