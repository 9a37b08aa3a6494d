"""The launcher `hydra/launcher=local`: the cells of a sweep in this process."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.mtlsweep_launcher.returns import job_return
from mtlsweep import sweep
from mtlsweep.errors import UserError


class LocalLauncher(Launcher):
    """Checks all cells, skips what is done, runs the rest. A run's directory, not Hydra's task function, says what it does."""

    def __init__(self, lanes: int = 1) -> None:
        """See `conf/hydra/launcher/local.yaml`.

        Raises:
            UserError: `lanes` is no number above 0.
        """
        if type(lanes) is not int or lanes < 1:
            raise UserError(f"hydra.launcher.lanes={lanes}: must be a whole number of at least 1")
        self._lanes = lanes

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
        return [job_return(task) for task in sweep.launch(cells, Path(self._config.hydra.sweep.dir), self._lanes)]
