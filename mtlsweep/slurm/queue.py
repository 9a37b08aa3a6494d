"""What SLURM says: which jobs are in its queue, how others ended, how large an array may be."""

import os
import re
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# SLURM's own default of MaxArraySize.
_DEFAULT_ARRAY = 1001

# Ids in one call of scancel: a command line has an end.
_IN_ONE_CALL = 1000

# Seconds that a command may take.
_PATIENCE = 60.0

# Between two looks at the queue, and what becomes of them in a long time.
POLL_SECONDS = 3.0
LONGEST_POLL_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """A job in SLURM's queue, or one task of an array.

    Attributes:
        id: `12`, or `12_0` of an array.
        number: what the job itself knows as SLURM_JOB_ID; an array's tasks have it from their start on.
        state: in SLURM's words, e.g. `PENDING`.
        reason: why it waits, e.g. `Priority`; `None` in SLURM's words, too.
        name: of the job.
    """

    id: str
    number: str
    state: str
    reason: str
    name: str

    @property
    def held(self) -> bool:
        """Whether it waits for somebody to release it."""
        return self.state in ("REQUEUE_HOLD", "SPECIAL_EXIT") or "held" in self.reason.lower()


def listed(timeout: float = _PATIENCE) -> dict[str, Job] | None:
    """This user's jobs that have not ended, array tasks one by one, by id; None: no answer."""
    answer = _ask("squeue", "--me", "--noheader", "--array", "--format=%i|%A|%T|%r|%j", timeout=timeout)
    if answer is None:
        return None
    jobs = (Job(*line.split("|", 4)) for line in answer.splitlines() if line.count("|") >= 4)
    return {job.id: job for job in jobs}


def pause(waited: float) -> float:
    """Seconds between two looks at the queue after so many of waiting: squeue is work for the whole cluster."""
    return min(POLL_SECONDS + waited / 60, LONGEST_POLL_SECONDS)


def ended_as(jobs: Collection[str]) -> dict[str, str]:
    """How these jobs ended, e.g. `OUT_OF_MEMORY`, by id; without those that SLURM's accounting does not know.

    A job whose step has run out of memory often counts as FAILED: its script has gone on to its end and said so.
    """
    arrays = {job: job.partition("_")[0] for job in jobs}
    answer = _ask("sacct", "--noheader", "--parsable2", f"--jobs={','.join(set(arrays.values()))}", "--format=JobID,State")
    # Array tasks that never began stand in one line, as `12_[3-5]` or as `12`; the steps of a job below it, as `12.batch`.
    states: dict[str, str] = {}
    for name, state in (line.split("|") for line in (answer or "").splitlines()):
        job, _, step = name.partition("_[")[0].partition(".")
        if not step or state == "OUT_OF_MEMORY":
            states[job] = state.split()[0]
    found = {job: states.get(job) or states.get(array) for job, array in arrays.items()}
    return {job: state for job, state in found.items() if state}


def largest_array() -> int:
    """The number of tasks that one array job may have."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config") or "", re.M)
    return int(found[1]) if found else _DEFAULT_ARRAY


def requeue(job: str) -> bool:
    """Have a job start again; False where SLURM refuses."""
    return _ask("scontrol", "requeue", job) is not None


def cancel(jobs: Sequence[str]) -> list[str]:
    """Cancel these jobs and array tasks; those that SLURM refuses to end. That some have ended in the meantime does no harm."""
    for start in range(0, len(jobs), _IN_ONE_CALL):
        _ask("scancel", *jobs[start : start + _IN_ONE_CALL])
    left = listed() or {}
    return [job for job in jobs if job in left and left[job].state in ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT", "RUNNING", "SUSPENDED")]


def _ask(*command: str, timeout: float = _PATIENCE) -> str | None:
    # Without what the user has set for these commands at the prompt: a filter would hide jobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SACCT_", "SCANCEL_"))}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
