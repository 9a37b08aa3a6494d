"""Sweeps in several processes on this machine: `pool` is the sweep's own process, `worker` what it starts and what trains."""

from collections.abc import Sequence

# What Python is told by `pool`, before a process's own arguments.
WORKER = ("-P", "-m", "mtlsweep.processes")


def is_worker(command: Sequence[str]) -> bool:
    """Whether this command line is that of a process which `pool` has started."""
    return tuple(command[1:4]) == WORKER
