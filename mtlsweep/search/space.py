"""What is searched, and what a trial of it came to."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import FrozenTrial, Trial

from mtlsweep.errors import UserError
from mtlsweep.runs import RunDirectory, State
from mtlsweep.runs.outcome import objective

# Values of a trial, by the key of the setting.
Params = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What a run with a result came to.

    Attributes:
        value: its objective; None: it diverged, and how good it was before says nothing for its values.
    """

    value: float | None

    @classmethod
    def of(cls, directory: RunDirectory) -> Self | None:
        """That of a run; None where it has no result."""
        result = directory.result()
        if result is None:
            return None
        return cls(None if State(result["status"]) is State.diverged else objective(result))


class Space(dict[str, BaseDistribution]):
    """A distribution for each setting that is searched."""

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether these are values of its settings, of some or all."""
        return all(name in self and _contains(self[name], value) for name, value in params.items())

    def points(self, params: Iterable[Params]) -> int:
        """How many different ones of these are in it, with a value for every setting."""
        return len({tuple(sorted(one.items())) for one in params if one.keys() == self.keys() and self.holds(one)})

    @property
    def size(self) -> float:
        """How many different trials there can be."""
        return math.prod(_size(distribution) for distribution in self.values())

    def suggest(self, trial: Trial) -> None:
        """Have the sampler choose a value for every setting."""
        for name, distribution in self.items():
            _suggest(trial, name, distribution)

    def check(self, known: Iterable[FrozenTrial]) -> None:
        """See that earlier trials can be of one search with those of this space.

        Raises:
            UserError: Optuna cannot change a setting from one kind of values to another, nor the values of a choice.
        """
        for trial in known:
            for name in self.keys() & trial.distributions.keys():
                try:
                    check_distribution_compatibility(trial.distributions[name], self[name])
                except ValueError as error:
                    raise UserError(f"{name}: {error} This search had other values; give it another hydra.sweeper.study_name") from error


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # none of the choices
        return False


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return distribution.high - distribution.low + 1
    return 1 if distribution.single() else math.inf


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
