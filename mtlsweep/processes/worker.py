"""A process that runs cells of a sweep, one after another or in lanes; it asks the sweep's process for each.

What it says goes through one connection: None asks for a cell, a text is a line to print, an `Ended` tells what became of a cell. The
answer to None is an `Order`, or None: there is nothing left.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from mtlsweep import interrupt
from mtlsweep.frozen import FrozenCell
from mtlsweep.plan import Task
from mtlsweep.progress import Display, Screen, console
from mtlsweep.sweep import job

if TYPE_CHECKING:  # loads torch
    from mtlsweep.train.lanes import Job


class Order(NamedTuple):
    """A cell to run, its number in the sweep, and what its lines begin with."""

    number: int
    prefix: str
    cell: FrozenCell


class Ended(NamedTuple):
    """The cell of this number has ended, and what became of it."""

    number: int
    task: Task


def work(descriptor: int, lanes: int) -> None:
    """Run cells until there are none left, or until the sweep's process ends, which ends this one as Ctrl-C does.

    Args:
        descriptor: of this end of the connection.
        lanes: how many cells take turns.
    """
    from mtlsweep.train import take_turns  # loads torch

    connection: Connection[Any, Any] = Connection(descriptor)
    orders: SimpleQueue[Order | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    console.file = cast(IO[str], _Lines(connection))
    try:
        with Screen() as screen, interrupt.deferred():
            take_turns(_jobs(connection, orders, screen), lanes)
    except KeyboardInterrupt:
        sys.exit(130)


class _Lines(io.TextIOBase):
    """What is printed, line by line to the sweep's process."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def write(self, text: str) -> int:
        _send(self._connection, text.removesuffix("\n"))
        return len(text)


def _listen(connection: "Connection[Any, Any]", orders: "SimpleQueue[Order | None]") -> None:
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):  # the sweep's process has gone
        os.kill(os.getpid(), signal.SIGTERM)
        orders.put(None)


def _jobs(connection: "Connection[Any, Any]", orders: "SimpleQueue[Order | None]", screen: Screen) -> "Iterator[Job[Any]]":
    while True:
        interrupt.check_between()
        _send(connection, None)
        order = orders.get()
        if order is None:
            return
        task, settings = order.cell.unfreeze()
        tell = partial(_send, connection, Ended(order.number, task))
        if settings:
            yield job(task, settings, Display(screen, prefix=order.prefix), tell)
        else:
            console.print(f"{order.prefix}{task.lost or task.outcome}")
            tell()


def _send(connection: "Connection[Any, Any]", message: Ended | str | None) -> None:
    with suppress(OSError):  # the sweep's process has gone; `_listen` notices
        connection.send(message)
