"""One run without a sweep around it."""

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mtlsweep.cli import REFUSALS, refuse
from mtlsweep.compose import Composer
from mtlsweep.sweep import launch


def run(config: DictConfig) -> float | None:
    """Train the run of this configuration, or print its last line if it is done. Returns its objective.

    Raises:
        SystemExit: a setting is at fault (2); the run failed (1). (An ordinary exception would be caught
            by Hydra, which then prints lines of its own.)
    """
    composer = Composer(GlobalHydra.instance().config_loader())
    try:
        task = launch([composer.cell(config, HydraConfig.get())])[0]
    except REFUSALS as error:
        raise SystemExit(refuse(error)) from error
    if task.failed and not task.cell.settings["dry_run"]:
        raise SystemExit(1)
    return task.objective
