"""What the launchers share: how they get their cells, and what they tell Hydra about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mtlsweep.plan import Task
from mtlsweep.runs import Cell
from mtlsweep.sweep import CellFailed


class CellReturn(JobReturn):
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


def job_return(task: Task, executed: bool) -> JobReturn:
    """A cell's, with its objective or its failure.

    Args:
        task: of the cell.
        executed: whether its end has been waited for; else it may be failed from before, and is not said to be.
    """
    job = CellReturn(overrides=task.cell.overrides, working_dir=str(task.directory.path))
    failed = executed and task.failed
    job.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
    job.return_value = CellFailed(task.error) if failed else task.objective
    return job


class CellLauncher(Launcher):
    """A launcher of cells. A run's directory, not Hydra's task function, says what it does."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before the first launch."""
        self._context = hydra_context
        self._config = config

    def cells(self, job_overrides: Sequence[Sequence[str]]) -> list[Cell]:
        """The cells that these overrides ask for, checked.

        Raises:
            UserError: some are at fault.
        """
        from mtlsweep.compose import compose_sweep  # here: Hydra imports every plugin, also for tab completion

        return compose_sweep(self._context.config_loader, self._config, job_overrides)

    @property
    def folder(self) -> Path:
        """Of the sweep."""
        return Path(self._config.hydra.sweep.dir)
