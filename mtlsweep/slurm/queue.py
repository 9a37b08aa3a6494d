"""What SLURM says: which jobs are in its queue, how others ended, how large an array may be."""

import re
import subprocess
from collections.abc import Collection

# SLURM's own default of MaxArraySize.
_DEFAULT_ARRAY = 1001


def queued() -> dict[str, str] | None:
    """State of each of this user's jobs that have not ended, array tasks one by one, by id: `{"12_0": "RUNNING"}`; None: no answer."""
    answer = _ask("squeue", "--me", "--noheader", "--array", "--format=%i %T")
    return None if answer is None else dict(line.split() for line in answer.splitlines())


def ended_as(jobs: Collection[str]) -> dict[str, str]:
    """How these jobs ended, e.g. `OUT_OF_MEMORY`, by id; without those that SLURM's accounting does not know."""
    arrays = {job: job.partition("_")[0] for job in jobs}
    answer = _ask("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(set(arrays.values()))}", "--format=JobID,State")
    # Array tasks that never began stand in one line, as `12_[3-5]` or as `12`.
    states = {job.partition("_[")[0]: state.split()[0] for job, state in (line.split("|") for line in (answer or "").splitlines())}
    found = {job: states.get(job) or states.get(array) for job, array in arrays.items()}
    return {job: state for job, state in found.items() if state}


def largest_array() -> int:
    """The number of tasks that one array job may have."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config") or "", re.M)
    return int(found[1]) if found else _DEFAULT_ARRAY


def requeue(job: str) -> bool:
    """Have a job start again; False where SLURM refuses."""
    return _ask("scontrol", "requeue", job) is not None


def _ask(*command: str) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
