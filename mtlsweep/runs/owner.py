"""Who is executing a run, and whether they still are."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

HEARTBEAT_SECONDS = 20
# An owner on another host that cannot be asked about counts as gone after this long without a heartbeat.
STALE_SECONDS = 300
# Without one for so long it may be of a job that SLURM has forgotten, minutes after its end; else the job is another cluster's.
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS

# Two readings of a process's start time may differ by rounding and clock adjustment; a reused pid differs by much more.
_SAME_START_SECONDS = 2.0


@dataclass(frozen=True)
class Owner:
    """A process that executes a run.

    Attributes:
        host, pid, started: the process; `started` in seconds since the epoch, because pids are used again.
        slurm_job, slurm_restarts: the SLURM job it runs in and how often that job was requeued, or None and 0.
        namespace: in which its pid is one, for containers may share their host's name; None where the system does not say.
        ticks: its start on the kernel's clock, which nobody sets; None where the system does not say.
    """

    host: str
    pid: int
    started: float
    slurm_job: str | None = None
    slurm_restarts: int = 0
    namespace: str | None = None
    ticks: int | None = None

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        pid = os.getpid()
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        started = psutil.Process(pid).create_time()
        return cls(socket.gethostname(), pid, started, os.environ.get("SLURM_JOB_ID"), restarts, _namespace(), _ticks(pid))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Owner":
        """The owner that `vars(owner)` was written of."""
        return cls(**{field.name: value[field.name] for field in fields(cls) if field.name in value})

    @property
    def is_here(self) -> bool:
        """Whether its pid is one of those that this process sees."""
        return self.host == socket.gethostname() and self.namespace in (None, _namespace())

    def __str__(self) -> str:
        job = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{job}"


def _namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (man 5 proc_pid_stat); the second, the name in brackets, may hold anything."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def is_gone(owner: Owner, heartbeat_age: float) -> bool:
    """Whether an owner has ended, asked of the surest source that can answer: an earlier start of this very job, the host's process table,
    SLURM, the heartbeat's age in seconds."""
    here = Owner.here()
    if owner.slurm_job and owner.slurm_job == here.slurm_job and owner.slurm_restarts < here.slurm_restarts:
        return True
    if owner.is_here:
        return process(owner) is None
    if owner.slurm_job and (jobs := _listed.get()) is not None:
        if owner.slurm_job in jobs:
            return jobs[owner.slurm_job] not in _ACTIVE
        if heartbeat_age > STALE_SECONDS:  # it has ended, or is somebody else's and silent
            return True
    ended = _slurm_job_ended(owner.slurm_job, heartbeat_age) if owner.slurm_job else None
    return heartbeat_age > STALE_SECONDS if ended is None else ended


def process(owner: Owner) -> psutil.Process | None:
    """An owner's process, if it is one of this host and lives."""
    if not owner.is_here:
        return None
    try:
        found = psutil.Process(owner.pid)
        return found if _began_as(owner, found) and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _began_as(owner: Owner, found: psutil.Process) -> bool:
    """Whether a process of the owner's pid began when the owner did."""
    if owner.ticks is None:
        return abs(found.create_time() - owner.started) < _SAME_START_SECONDS
    return _ticks(found.pid) == owner.ticks


# States in which a job's processes may still be at work.
_ACTIVE = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}


# What SLURM has said about all of this user's jobs: by the id that a job itself knows, its state.
_listed: ContextVar[Mapping[str, str] | None] = ContextVar("listed", default=None)


@contextmanager
def answered(jobs: Mapping[str, str] | None) -> Iterator[None]:
    """Within the block SLURM is not asked about each of many runs what it has just said about all jobs of this user.

    Args:
        jobs: state by SLURM_JOB_ID, e.g. `{"12": "RUNNING"}`; None: it has not answered, and is asked about each.
    """
    token = _listed.set(jobs)
    try:
        yield
    finally:
        _listed.reset(token)


def _slurm_job_ended(job: str, heartbeat_age: float) -> bool | None:
    """Whether SLURM says that a job's processes are gone; None where it cannot be asked."""
    try:
        answer = subprocess.run(["squeue", "-h", "-j", job, "-o", "%A %T"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        # Any other failure is no answer.
        return True if "Invalid job id" in answer.stderr and heartbeat_age > SILENT_SECONDS else None
    # One task of an array has the array's own id, for which squeue lists all of them.
    states = {state for found, state in map(str.split, filter(str.strip, answer.stdout.splitlines())) if found == job}
    return not _ACTIVE & states
