"""One command at a time works on an entry."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.protocol.ledger import NAME


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Within the block no other command works on the entry. Gives the lock's descriptor: a process that inherits it holds the lock on,
    should this one be killed.

    Raises:
        UserError: another one does; or there is no entry.
    """
    if not (path / NAME).is_file():
        raise UserError(f"{path}: not an entry (no {NAME}); `init` makes one")
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hold(descriptor, os.getpid())
        yield descriptor
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode().strip()
        raise UserError(f"{path}: another command is at work on this entry (process {holder}); wait for it to end") from error
    finally:
        os.close(descriptor)


def hold(lock: int, process: int) -> None:
    """Say which process has to end before the lock is free."""
    os.pwrite(lock, f"{process:<19}\n".encode(), 0)  # in one piece, of one length: nobody reads half a number
