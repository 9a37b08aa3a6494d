"""Keeps memory that was freed for the next step, on a CPU."""

import ctypes
from functools import cache

# Of glibc's `mallopt` (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


@cache
def keep_freed_memory() -> None:
    """Have glibc give nothing back to the system that this process has freed: the next step asks for the same again.

    A step frees hundreds of MiB. Given back, they return page by page, each with a fault and 4 KiB of zeros: up to 25,000 a step and a
    twelfth of its time (ResNet-20, PCGrad). The process stays as large as it was at its largest. Where another library serves memory, or
    there is no glibc, nothing changes.
    """
    _mallopt({_TRIM_THRESHOLD: -1, _MMAP_MAX: 0})


def give_freed_memory_back() -> None:
    """As glibc does by itself once a program has freed a few large blocks."""
    _mallopt({_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536})
    keep_freed_memory.cache_clear()


def _mallopt(values: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not there; no such handle on Windows
        return
    for parameter, value in values.items():
        mallopt(parameter, value)
