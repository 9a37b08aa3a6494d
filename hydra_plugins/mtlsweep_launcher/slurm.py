"""The launcher `hydra/launcher=slurm`: the cells of a sweep as array jobs on a SLURM cluster."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

from hydra_plugins.mtlsweep_launcher.cells import CellLauncher, job_return
from mtlsweep.errors import UserError
from mtlsweep.slurm.options import parse

# Sweepers that look at no result: others cannot go on before the jobs have ended.
_NEED_NO_RESULTS = {"hydra_plugins.mtlsweep_launcher.grid.GridSweeper", "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"}


class SlurmLauncher(CellLauncher):
    """Checks all cells, submits what is missing, and follows it or leaves.

    Args:
        options: see `conf/hydra/launcher/slurm.yaml`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit a batch of cells; one JobReturn each. That of a failed one raises when its value is asked for.

        Raises:
            UserError: cells or options are at fault, or SLURM refuses the jobs.
        """
        from mtlsweep.slurm.launch import launch

        options = parse(self._options)
        sweeper = self._config.hydra.sweeper["_target_"]
        if not options.wait and sweeper not in _NEED_NO_RESULTS:
            raise UserError("hydra.launcher.wait=false: the sweeper goes by the results of the runs, so it has to wait for them")
        tasks = launch(self.cells(job_overrides), self.folder, options)
        return [job_return(task, executed=options.wait and not self._config.dry_run) for task in tasks]
