"""Optuna's samplers, by name."""

import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from mtlsweep.errors import UserError

# Packages that Optuna does not bring, and asks for when the first trials have been made.
_NEEDS = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}


def make_sampler(name: str, options: Mapping[str, Any]) -> BaseSampler:
    """One of Optuna's samplers.

    Raises:
        UserError: there is none of this name, it needs what is not installed, or it does not take these options.
    """
    if name == "GridSampler":  # it counts what has failed as done, so that nothing could be done again
        raise UserError(
            f"hydra.sweeper.sampler={name}: all combinations are what hydra/sweeper=grid makes, with values in place of intervals"
        )
    known = _samplers()
    if name not in known:
        raise UserError(f"hydra.sweeper.sampler={name}: choose from {', '.join(sorted(known))}")
    package = _NEEDS.get(name)
    if package and not importlib.util.find_spec(package):
        raise UserError(f"hydra.sweeper.sampler={name}: needs {package}: .venv/bin/pip install {package}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the user has asked for it by name
            return known[name](**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.sampler_options: {error}") from error


def _samplers() -> dict[str, type[BaseSampler]]:
    """Those that can be made of options alone, by name."""
    named = {name: getattr(optuna.samplers, name) for name in optuna.samplers.__all__ if name not in ("GridSampler", "PartialFixedSampler")}
    return {
        name: found
        for name, found in named.items()
        if isinstance(found, type) and issubclass(found, BaseSampler) and not inspect.isabstract(found)
    }
