"""What a launcher tells Hydra about the cells."""

from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from mtlsweep.plan import Task
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


def job_return(task: Task) -> JobReturn:
    """A cell's, with its objective or its failure."""
    job = CellReturn(overrides=task.cell.overrides, working_dir=str(task.directory.path))
    job.status = JobStatus.FAILED if task.failed else JobStatus.COMPLETED
    job.return_value = CellFailed(task.error) if task.failed else task.objective
    return job
