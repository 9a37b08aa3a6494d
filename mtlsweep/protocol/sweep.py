"""Runs a sweep in a process of its own, under the entry's lock, and passes on how this one is ended."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from mtlsweep.interrupt import handled
from mtlsweep.protocol.check import end_group
from mtlsweep.protocol.lock import hold

# A sweep that is asked to end does so at its next step. One that does not is in a loop of the author's.
GRACE_SECONDS = 20.0


class LimitReached(Exception):
    """The sweep has been ended because its time was up."""


def run(command: Sequence[str], lock: int, seconds: float | None = None) -> int:
    """Run a sweep to its end. What it prints goes to standard error: standard output is for what the rules have to say.

    Args:
        command: of the sweep.
        lock: descriptor of the entry's lock. The sweep inherits it, and so holds the entry where this process is killed and it is not.
        seconds: that it may take; None: any time.

    Returns:
        Its exit status.

    Raises:
        LimitReached: the time is up; what is done is kept.
        KeyboardInterrupt: this process was told to end, and the sweep has ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with handled(dict.fromkeys(_ending(), _raise)):
        # A session of its own: of a Ctrl-C at the terminal the sweep hears once, through this process.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=(lock,), start_new_session=True)
        hold(lock, process.pid)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise LimitReached from error
        except BaseException:
            _end(process)
            raise
        finally:
            hold(lock, os.getpid())


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the sweep to end, which leaves its runs to be continued; make it, if it does not or the user asks again."""
    try:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    finally:
        end_group(process)


def _ending() -> list[signal.Signals]:
    """SIGTERM and the closing of the terminal, which are to end this as Ctrl-C does. What is ignored (nohup) stays so."""
    return [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
