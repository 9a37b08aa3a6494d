"""The launcher `hydra/launcher=local`: the cells of a sweep on this machine, in this process or in several."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn

from hydra_plugins.mtlsweep_launcher.cells import CellLauncher, job_return
from mtlsweep import sweep
from mtlsweep.errors import UserError


class LocalLauncher(CellLauncher):
    """Checks all cells, skips what is done, runs the rest."""

    def __init__(self, n_jobs: int | str = 1, lanes: int | str = 1) -> None:
        """See `conf/hydra/launcher/local.yaml`.

        Raises:
            UserError: `n_jobs` or `lanes` is no number above 0.
        """
        for name, value in (("n_jobs", n_jobs), ("lanes", lanes)):
            if value != "auto" and (type(value) is not int or value < 1):
                raise UserError(f"hydra.launcher.{name}={value}: must be a whole number of at least 1, or auto")
        self._n_jobs = n_jobs
        self._lanes = lanes

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of cells; one JobReturn each, of which a failed one raises when its value is asked for.

        Raises:
            UserError: some cells are at fault; nothing has been trained then.
        """
        tasks = sweep.launch(self.cells(job_overrides), self.folder, self._lanes, self._n_jobs)
        return [job_return(task, executed=not self._config.dry_run) for task in tasks]
