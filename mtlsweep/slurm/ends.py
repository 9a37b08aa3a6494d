"""How jobs ended, by SLURM's accounting and by what stands in their logs."""

import re
from contextlib import suppress
from pathlib import Path

# What a node writes into the log of a job that it has killed for its memory; accounting may call it FAILED all the same.
_TOO_MUCH_MEMORY = re.compile(rb"slurmstepd\S*: error: .*(exceeded \S*\s?memory limit|oom.kill)", re.I)
# What the runs themselves could not record: there was no room, or none of them began.
_SAID = re.compile(rb"(No space left on device|Disk quota exceeded)|^error: (.+)$", re.M)
_END_OF_LOG = 100_000  # bytes


def how_it_ended(state: str, log: Path) -> str:
    """How a job ended, in SLURM's words, and what helps.

    Args:
        state: what accounting says.
        log: of the job; there may be none.
    """
    said = _end_of(log) if state == "FAILED" else b""
    if state == "OUT_OF_MEMORY" or _TOO_MUCH_MEMORY.search(said):
        return "OUT_OF_MEMORY, hydra.launcher.memory gives it more"
    why = list(_SAID.finditer(said))
    return f"{state}, {(why[-1][1] or why[-1][2]).decode(errors='replace')}" if why else state


def _end_of(log: Path) -> bytes:
    with suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _END_OF_LOG))
        return file.read()
    return b""
