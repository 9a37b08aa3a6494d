"""What a SLURM job does: it runs its cells as they were when they were submitted, and asks to be started again when its time is up."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit

from mtlsweep import interrupt
from mtlsweep.errors import UserError
from mtlsweep.plan import Task, cell_count, check, counts, plan
from mtlsweep.progress import console
from mtlsweep.runs import Cell, RunDirectory
from mtlsweep.runs.progress import epochs_done
from mtlsweep.slurm import queue
from mtlsweep.sweep import execute_all

# Seconds before the time limit at which a job leaves at the latest: time enough to record where it was and to ask for its next start.
LEAVE_SECONDS = 20


@dataclass(frozen=True)
class FrozenCell:
    """A cell as it was when it was submitted.

    Attributes:
        cell: with absolute paths, and the run directory's copy in place of a user's strategy file.
        directory: its run directory.
        redo_after: the attempt whose result is to be put aside; None: nothing is. A later attempt is this submission's own, or another's.
    """

    cell: Cell
    directory: Path
    redo_after: int | None

    @classmethod
    def of(cls, task: Task, settings: dict[str, Any], threads: int) -> "FrozenCell":
        """Freeze a task.

        Args:
            task: due.
            settings: as `RunDirectory.prepare` returned them.
            threads: of torch, where the settings leave it open.
        """
        runs_dir, root = (str(Path(path).expanduser().absolute()) for path in (settings["runs_dir"], settings["data"]["root"]))
        engine = settings["engine"] | {"threads": settings["engine"]["threads"] or threads}
        frozen = settings | {"runs_dir": runs_dir, "data": settings["data"] | {"root": root}, "engine": engine}
        return cls(
            replace(task.cell, settings=frozen),
            task.directory.path.expanduser().absolute(),
            task.status.attempt if task.action == "redo" else None,
        )

    def now(self) -> Cell:
        """The cell as it is to be executed now.

        Raises:
            UserError: code of the user's has been changed since, so that it would be another run.
        """
        if self.cell.directory != self.directory:
            raise UserError(f"{self.cell.label}: its loss has been changed while it waited; submit it again")
        done_since = RunDirectory(self.directory).attempt() != self.redo_after
        return replace(self.cell, settings=self.cell.settings | {"rerun": "none"}) if done_since else self.cell


def run(cells: Sequence[FrozenCell], signal_seconds: float, lanes: int) -> None:
    """Execute cells; the job's own function, called by submitit on a node.

    Args:
        cells: of this job.
        signal_seconds: how long before the time limit SLURM sends its signal.
        lanes: how many take turns.

    Raises:
        SystemExit: a run failed or the time was up (1), something is wrong with what was submitted (2). SLURM's state of the job is then
            FAILED, unless it is started again.
    """
    time_up = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
    before = _progress(cells)
    with interrupt.in_job(time_up, max(0.0, signal_seconds - LEAVE_SECONDS)):
        try:
            tasks = _execute([cell.now() for cell in cells], lanes)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from error
        except KeyboardInterrupt:
            if interrupt.time_is_up():
                console.print(_continue_later(_progress(cells) != before))
            raise SystemExit(1) from None
    if any(task.failed for task in tasks):
        raise SystemExit(1)


def _execute(cells: Sequence[Cell], lanes: int) -> list[Task]:
    tasks = list(plan(cells).values())
    check(tasks)
    settings = [task.directory.prepare(task.cell) for task in tasks if task.due]
    execute_all(tasks, settings, sweeping=True, lanes=lanes)
    console.print(f"{cell_count(tasks)}: {counts([task.outcome for task in tasks])}")
    return tasks


def _progress(cells: Sequence[FrozenCell]) -> list[tuple[int, float]]:
    """Epochs finished and the time of the checkpoint: after a kill epochs may have to be done again that were finished before."""
    checkpoints = [cell.directory / "checkpoint.pt" for cell in cells]
    return [(epochs_done(path.parent), path.stat().st_mtime if path.exists() else 0.0) for path in checkpoints]


def _continue_later(progressed: bool) -> str:
    """Ask SLURM to start this job again, and say what came of it."""
    job = submitit.JobEnvironment().job_id
    if not progressed:
        return "error: the time limit is too short for a single epoch; raise hydra.launcher.time"
    # Not where it has been cancelled in the meantime: a cancelled job stays so.
    if (queue.queued() or {}).get(job) != "RUNNING":
        return f"job {job} is being ended"
    return f"time is up: job {job} starts again" if queue.requeue(job) else f"time is up, and SLURM does not start job {job} again"
