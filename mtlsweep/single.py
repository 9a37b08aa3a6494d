"""One run without a sweep around it."""

import sys

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mtlsweep.compose import Composer
from mtlsweep.errors import UserError
from mtlsweep.sweep import launch


def run(config: DictConfig) -> float | None:
    """Train the run of this configuration, or print its last line if it is done. Returns its objective.

    Raises:
        SystemExit: a setting is at fault (2); the run failed, or another process executes it (1). (An ordinary exception would be caught
            by Hydra, which then prints lines of its own.)
    """
    composer = Composer(GlobalHydra.instance().config_loader())
    try:
        task = launch([composer.cell(config, HydraConfig.get())])[0]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if task.error or task.action == "taken":
        raise SystemExit(1)
    return task.objective
