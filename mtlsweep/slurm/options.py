"""What a SLURM job is given; `conf/hydra/launcher/slurm.yaml` says what each option means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.options import typed


@dataclass
class Options:
    """The options of the launcher `slurm`."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: int = 240
    memory: float = 8.0
    cpus: int = 2
    gpus: int = 1
    gres: str | None = None
    setup: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    sbatch: dict[str, Any] = field(default_factory=dict)
    parallelism: int | None = None
    cells_per_job: int = 1
    lanes: int | str = 1
    signal_seconds: int = 120
    wait: bool = True

    @property
    def job_name(self) -> str | None:
        """The name that jobs are given in place of the study's."""
        return next((str(self.sbatch[key]) for key in ("job_name", "job-name") if key in self.sbatch), None)


def parse(values: Mapping[str, Any]) -> Options:
    """Options of the right types and in their ranges.

    Raises:
        UserError: one is not, or there is none of its name.
    """
    options = typed(Options, values, "hydra.launcher")
    _check_ranges(options)
    return options


def _check_ranges(options: Options) -> None:
    for key, least in {"time": 1, "cpus": 1, "gpus": 0, "cells_per_job": 1, "parallelism": 1, "signal_seconds": 1}.items():
        value = getattr(options, key)
        if value is not None and value < least:
            raise UserError(f"hydra.launcher.{key}={value}: must be at least {least}")
    if options.lanes != "auto" and (isinstance(options.lanes, str) or options.lanes < 1):
        raise UserError(f"hydra.launcher.lanes={options.lanes}: must be a whole number of at least 1, or auto")
    if options.memory <= 0:
        raise UserError(f"hydra.launcher.memory={options.memory}: must be more than 0")
    if options.signal_seconds >= 60 * options.time:
        raise UserError(f"hydra.launcher.signal_seconds={options.signal_seconds}: must be less than the time limit ({options.time} min)")
