"""What a SLURM job does: it runs its cells as they were when they were submitted, and asks to be started again when its time is up."""

import signal
import sys
from collections.abc import Sequence

import submitit

from mtlsweep import interrupt
from mtlsweep.frozen import FrozenCell
from mtlsweep.plan import Task
from mtlsweep.progress import console
from mtlsweep.runs.progress import epochs_done
from mtlsweep.slurm import queue
from mtlsweep.sweep import execute_all
from mtlsweep.words import counts, plural

# Seconds before the time limit at which a job leaves at the latest: time enough to record where it was and to ask for its next start.
LEAVE_SECONDS = 20


def run(cells: Sequence[FrozenCell], signal_seconds: float, lanes: int | str) -> None:
    """Execute cells; the job's own function, called by submitit on a node.

    Args:
        cells: of this job.
        signal_seconds: how long before the time limit SLURM sends its signal.
        lanes: how many take turns; "auto": as many as a GPU takes well.

    Raises:
        SystemExit: a run failed or the time was up. SLURM's state of the job is then FAILED, unless it is started again.
    """
    time_up = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
    before = _progress(cells)
    with interrupt.in_job(time_up, max(0.0, signal_seconds - LEAVE_SECONDS)):
        try:
            tasks = _execute(cells, lanes)
        except KeyboardInterrupt:
            if interrupt.time_is_up():
                console.print(_continue_later(_progress(cells) != before))
            raise SystemExit(1) from None
    if any(task.failed for task in tasks):
        raise SystemExit(1)


def _execute(cells: Sequence[FrozenCell], lanes: int | str) -> list[Task]:
    unfrozen = [cell.unfreeze() for cell in cells]
    for task, _ in unfrozen:
        if task.lost:  # it costs this cell only
            print(f"error: {task.lost}", file=sys.stderr)
    tasks = [task for task, _ in unfrozen if not task.lost]
    if tasks:
        # Not checked all together, as before they were submitted: what one of them lacks here is that run's failure.
        execute_all(tasks, [settings for _, settings in unfrozen if settings is not None], sweeping=True, lanes=lanes)
        console.print(f"{plural(len(tasks), 'cell')}: {counts([task.outcome for task in tasks])}")
    return [task for task, _ in unfrozen]


def _progress(cells: Sequence[FrozenCell]) -> list[tuple[int, float]]:
    """Epochs finished and the time of the checkpoint: after a kill epochs may have to be done again that were finished before."""
    checkpoints = [cell.directory / "checkpoint.pt" for cell in cells]
    return [(epochs_done(path.parent), path.stat().st_mtime if path.exists() else 0.0) for path in checkpoints]


def _continue_later(progressed: bool) -> str:
    """Ask SLURM to start this job again, and say what came of it."""
    job = submitit.JobEnvironment().job_id
    if not progressed:
        return "error: the time limit is too short for a single epoch; raise hydra.launcher.time"
    # Not where it has been cancelled in the meantime: a cancelled job stays so. Where SLURM does not say in time, that is less likely.
    jobs = queue.listed(timeout=LEAVE_SECONDS / 4)
    if jobs is not None and (job not in jobs or jobs[job].state != "RUNNING"):
        return f"job {job} is being ended"
    return f"time is up: job {job} starts again" if queue.requeue(job) else f"time is up, and SLURM does not start job {job} again"
