"""Hands frozen cells to SLURM as array jobs, through submitit."""

import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TypeVar

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from mtlsweep.errors import UserError
from mtlsweep.frozen import FrozenCell
from mtlsweep.slurm import queue
from mtlsweep.slurm.job import run
from mtlsweep.slurm.options import Options
from mtlsweep.slurm.submission import LOGS

# What the job of which this process may be a part says about itself. A new job that inherited it would take it for its own.
_LEAKS = re.compile(r"(SLURM|SLURMD|SRUN|SUBMITIT|PMI|PMIX)_")
_KEPT = {"SLURM_CONF", "SLURM_CLUSTERS", "SUBMITIT_PREEMPT_SIGNAL"}

_T = TypeVar("_T")

ROOT = Path(__file__).resolve().parents[2]


def submit(cells: Sequence[FrozenCell], options: Options, folder: Path, name: str) -> Iterator[dict[str, list[FrozenCell]]]:
    """Submit cells, `cells_per_job` in each array task, in as many arrays as SLURM's limit makes necessary.

    Args:
        cells: what is to be run.
        options: of the jobs.
        folder: of the sweep; the logs are put below it.
        name: of the jobs, in SLURM's queue.

    Yields:
        For each array, once it is submitted: its tasks' ids and the cells of each.

    Raises:
        UserError: SLURM refuses. Arrays that have been yielded are submitted all the same.
    """
    groups = list(_slices(cells, options.cells_per_job))
    arrays = list(_slices(groups, queue.largest_array()))
    for number, array in enumerate(arrays):
        parallelism = parallel(options.parallelism, number, len(arrays)) if options.parallelism else len(array)
        jobs = _submit_array(array, options, (folder / LOGS).absolute(), name, parallelism)
        yield {job.job_id: list(group) for job, group in zip(jobs, array, strict=True)}


def parallel(total: int, number: int, parts: int) -> int:
    """Tasks that may run at once in the array of this number, of so many arrays that share a total; each needs one at least."""
    return max(1, total // parts + (number < total % parts))


class _Executor(submitit.SlurmExecutor):
    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        """In a session of its own, which a terminal's Ctrl-C does not reach: an sbatch that is ended may have submitted all the same."""
        return ["setsid", "--wait", *super()._make_submission_command(submission_file_path)]


def _submit_array(
    groups: Sequence[Sequence[FrozenCell]], options: Options, folder: Path, name: str, parallelism: int
) -> list[submitit.Job[None]]:
    if not shutil.which("sbatch"):
        raise UserError("hydra/launcher: there is no SLURM here (sbatch is not found)")
    if "%" in str(folder):
        raise UserError(f"{folder}: SLURM would read its % as a pattern, and put the jobs' logs elsewhere; give it another name")
    with _clean_environment(), redirect_stderr(io.StringIO()):  # what sbatch prints is in its error
        executor = _Executor(folder=folder)
        executor.update_parameters(**_parameters(options), job_name=name, array_parallelism=parallelism)
        try:
            return executor.map_array(run, groups, [options.signal_seconds] * len(groups), [options.lanes] * len(groups))
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"SLURM refuses the jobs: {_reason(error)}") from error


def _parameters(options: Options) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in ("partition", "account", "qos", "constraint", "gres")}
    return {name: value for name, value in given.items() if value is not None} | {
        "time": options.time,
        "mem": f"{round(options.memory * 1024)}M",
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus if options.gpus and not options.gres else None,
        "signal_delay_s": options.signal_seconds,
        "setup": _setup_lines(options),
        "stderr_to_stdout": True,
        "srun_args": [f"--cpus-per-task={options.cpus}"],  # since SLURM 22.05 a step does not take it over from its job
        "wckey": None,  # submitit would send one, which some clusters refuse
        "additional_parameters": {"requeue": True} | options.sbatch,
    }


def _setup_lines(options: Options) -> list[str]:
    # The package may be a clone that is not installed; the job's own sys.path begins with the folder of the submission.
    environment = {"OMP_NUM_THREADS": str(options.cpus)} | options.environment
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return [*options.setup, *exports, f'export PYTHONPATH={shlex.quote(str(ROOT))}"${{PYTHONPATH:+:$PYTHONPATH}}"']


@contextmanager
def _clean_environment() -> Iterator[None]:
    """The environment that the jobs inherit, without what an enclosing job says about itself."""
    leaked = {name: value for name, value in os.environ.items() if _LEAKS.match(name) and name not in _KEPT}
    for name in leaked:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(leaked)


def _slices(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip().startswith("sbatch: error:")]
    return "; ".join(line.removeprefix("sbatch: error:").strip() for line in lines) or str(error).splitlines()[0]
