"""The shape of a run's configuration: names, types and defaults of everything that is not a model, a loss, a curriculum or a logger.

Those four are calls (`_target_` and its arguments) and are checked against the signature of what they call, see `mtlsweep.settings`.
What a key means stands at the key, in `conf/`.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import MISSING


class Save(Enum):
    """Which weights a completed run keeps."""

    none = 0
    best = 1
    last = 2


class Rerun(Enum):
    """Which finished runs are done again from their first epoch."""

    none = 0
    failed = 1
    diverged = 2
    all = 3


class Precision(Enum):
    """Arithmetic of the network's forward and backward pass."""

    auto = 0
    fp32 = 1
    bf16 = 2


@dataclass
class ScheduleConfig:
    """Optimizer and length of a run: SGD, the learning rate cosine-annealed to 0 over the epochs."""

    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING


@dataclass
class DataConfig:
    """Which images are trained and tested on."""

    name: str = MISSING
    root: str = "data"
    download: bool = True
    seed: int = 0
    train_size: int | None = None
    test_size: int | None = None
    validation: int = 0


@dataclass
class EngineConfig:
    """How the arithmetic is done."""

    device: str = "auto"
    precision: Precision = Precision.auto
    channels_last: bool | None = None
    compile: bool | None = None
    graph: bool | None = None
    triton: bool | None = None
    fused: bool | None = None
    threads: int | None = None


@dataclass
class RunConfig:
    """One run."""

    study: str = "default"
    seed: int = 42
    runs_dir: str = "runs"
    save: Save = Save.none
    rerun: Rerun = Rerun.none
    dry_run: bool = False
    checkpoint_seconds: float = 10.0
    model: Any = MISSING
    loss: Any = MISSING
    curriculum: Any = MISSING
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    logger: Any = MISSING


def register() -> None:
    """Make the schema known to Hydra; `conf/config.yaml` names it first in its defaults list."""
    ConfigStore.instance().store(name="schema", node=RunConfig)
    # Of Hydra's own plugin for Optuna, where it is installed: Hydra would take it for the schema of conf/hydra/sweeper/optuna.yaml.
    Plugins.instance()
    ConfigStore.instance().repo.get("hydra", {}).get("sweeper", {}).pop("optuna.yaml", None)
