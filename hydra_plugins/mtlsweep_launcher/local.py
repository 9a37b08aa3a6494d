"""The launcher `hydra/launcher=local`: the cells of a sweep one after another in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mtlsweep import sweep


class LocalLauncher(Launcher):
    """Checks all cells, skips what is done, runs the rest. A run's directory, not Hydra's task function, says what it does."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before the first launch."""
        self._context = hydra_context
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of cells; one JobReturn each, of which a failed one raises when its value is asked for.

        Raises:
            UserError: some cells are at fault; nothing has been trained then.
        """
        from mtlsweep.compose import compose_sweep  # loads torch; Hydra imports every plugin, also for tab completion

        cells = compose_sweep(self._context.config_loader, self._config, job_overrides)
        return [_job_return(task) for task in sweep.launch(cells, Path(self._config.hydra.sweep.dir))]


class _CellReturn(JobReturn):
    """Hydra's, less the line that it prints when a failed job's value is asked for: what failed has been said."""

    @property
    def return_value(self) -> Any:
        """The run's objective.

        Raises:
            CellFailed: it has none.
        """
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


def _job_return(task: sweep.Task) -> JobReturn:
    job = _CellReturn(overrides=task.cell.overrides, working_dir=str(task.directory.path))
    job.status = JobStatus.FAILED if task.failed else JobStatus.COMPLETED
    job.return_value = sweep.CellFailed(task.status.error) if task.failed else task.objective
    return job
