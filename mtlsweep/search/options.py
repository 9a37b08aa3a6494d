"""What the sweeper `optuna` is given; `conf/hydra/sweeper/optuna.yaml` says what each option means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.options import typed


@dataclass
class Options:
    """The options of the sweeper `optuna`."""

    direction: str = "maximize"
    n_trials: int = 20
    n_jobs: int = 1
    sampler: str = "TPESampler"
    sampler_options: dict[str, Any] = field(default_factory=dict)
    storage: str | None = None
    study_name: str | None = None
    params: dict[str, Any] | None = None


def parse(values: Mapping[str, Any]) -> Options:
    """Options of the right types and in their ranges.

    Raises:
        UserError: one is not, or there is none of its name.
    """
    options = typed(Options, values, "hydra.sweeper")
    _check_ranges(options)
    return options


def _check_ranges(options: Options) -> None:
    for key in ("n_trials", "n_jobs"):
        if getattr(options, key) < 1:
            raise UserError(f"hydra.sweeper.{key}={getattr(options, key)}: must be a whole number of at least 1")
    if options.direction not in ("maximize", "minimize"):
        raise UserError(f"hydra.sweeper.direction={options.direction}: must be maximize or minimize")
