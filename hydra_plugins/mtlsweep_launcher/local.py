"""The launcher `hydra/launcher=local`: the cells of a sweep in this process."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn

from hydra_plugins.mtlsweep_launcher.cells import CellLauncher, job_return
from mtlsweep import sweep
from mtlsweep.errors import UserError


class LocalLauncher(CellLauncher):
    """Checks all cells, skips what is done, runs the rest."""

    def __init__(self, lanes: int = 1) -> None:
        """See `conf/hydra/launcher/local.yaml`.

        Raises:
            UserError: `lanes` is no number above 0.
        """
        if type(lanes) is not int or lanes < 1:
            raise UserError(f"hydra.launcher.lanes={lanes}: must be a whole number of at least 1")
        self._lanes = lanes

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of cells; one JobReturn each, of which a failed one raises when its value is asked for.

        Raises:
            UserError: some cells are at fault; nothing has been trained then.
        """
        return [job_return(task) for task in sweep.launch(self.cells(job_overrides), self.folder, self._lanes)]
