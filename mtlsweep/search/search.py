"""A search with Optuna that can be stopped at any moment and continued: what was begun or failed is done before something new is tried."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from mtlsweep.errors import UserError
from mtlsweep.runs.owner import Owner, is_gone

# What a trial remembers: the process that launched it, and why its values are no run.
_OWNER, _REFUSED = "owner", "refused"


class Search:
    """The trials of one search.

    Args:
        study: Optuna's.
        space: what is searched, by the key of the setting.
        trials: that the search has when it is done.
        folder: of the runs; a trial that a process on another host has begun is given up when all runs there have been silent for long.
    """

    def __init__(self, study: Study, space: Mapping[str, BaseDistribution], trials: int, folder: Path) -> None:
        self._study = study
        self._space = space
        known = study.get_trials(deepcopy=False)
        begun = [trial for trial in known if trial.state is TrialState.RUNNING]
        silence = _silence(folder) if begun else 0.0
        self._stopped = [trial for trial in begun if _is_gone(trial, silence)]
        self._again = self._without_value([trial for trial in known if trial not in begun or trial in self._stopped])
        self.done = [trial.params for trial in known if trial.state is TrialState.COMPLETE]
        self.elsewhere = len(begun) - len(self._stopped)
        self.left = max(0, trials - len(self.done) - self.elsewhere)

    @property
    def next(self) -> list[dict[str, Any]]:
        """Values of those of the trials that are left that have been chosen."""
        return self._again[: self.left]

    def begin(self) -> None:
        """What other processes began and left counts as failed from here on."""
        for trial in self._stopped:
            self._study.tell(trial.number, state=TrialState.FAIL)
        if self.done:
            self._study.sampler.reseed_rng()  # one with a seed would begin with the values that it began with

    def ask(self) -> Trial:
        """The next trial, with its values.

        Raises:
            UserError: a setting was searched over other kinds of values before.
        """
        if self._again:
            self._study.enqueue_trial(self._again.pop(0))
        trial = self._study.ask()
        trial.set_user_attr(_OWNER, vars(Owner.here()))
        try:
            for name, distribution in self._space.items():
                _suggest(trial, name, distribution)
        except ValueError as error:
            self.refuse(trial, str(error))
            raise UserError(f"{error}: this search had other values; give it another hydra.sweeper.study_name") from error
        self.left -= 1
        return trial

    def tell(self, trial: Trial, value: float | None) -> None:
        """A trial has ended with this value; None: with none, so that it is done again when the search is continued."""
        self._study.tell(trial, value, TrialState.FAIL if value is None else TrialState.COMPLETE)

    def refuse(self, trial: Trial, why: str) -> None:
        """A trial's values are no run: it is not done again."""
        trial.set_user_attr(_REFUSED, why)
        self.tell(trial, None)

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the best value; None where none has one."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self._study.best_trial if done else None

    def _without_value(self, known: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        """Values of trials that ended without a result or were left, each once; not of those that have been done again since."""
        settled = [trial.params for trial in known if trial.state is TrialState.COMPLETE or _REFUSED in trial.user_attrs]
        found: list[dict[str, Any]] = []
        for trial in known:
            if trial.params.keys() == self._space.keys() and trial.params not in settled + found:
                found.append(trial.params)
        return found


def open_study(storage: str | None, name: str, sampler: BaseSampler, direction: str) -> Study:
    """Optuna's study of this name, made where there is none.

    Args:
        storage: its URL; None: it is kept in memory.
        name: of the study.
        sampler: of values.
        direction: "maximize" or "minimize".

    Raises:
        UserError: the storage cannot be used, or the search went in the other direction.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        towards = StudyDirection[direction.upper()]
        study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, direction=towards, load_if_exists=True)
    except Exception as error:  # whatever the storage's driver raises
        raise UserError(f"hydra.sweeper.storage={storage}: Optuna cannot use it ({str(error).partition(chr(10))[0]})") from error
    if study.direction is not towards:
        raise UserError(f"hydra.sweeper.direction={direction}: this search has been made with {study.direction.name.lower()}")
    return study


def make_sampler(name: str, options: Mapping[str, Any]) -> BaseSampler:
    """One of Optuna's samplers.

    Raises:
        UserError: there is none of this name, or it does not take these options.
    """
    found = getattr(optuna.samplers, name, None)
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        names = [known for known in optuna.samplers.__all__ if known.endswith("Sampler") and known != "BaseSampler"]
        raise UserError(f"hydra.sweeper.sampler={name}: choose from {', '.join(sorted(names))}")
    try:
        return found(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.sampler_options: {error}") from error


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)


def _is_gone(trial: FrozenTrial, silence: float) -> bool:
    owner = trial.user_attrs.get(_OWNER)
    return owner is None or is_gone(Owner.from_json(owner), silence)


def _silence(folder: Path) -> float:
    """Seconds since any run of a study has shown that it lives."""
    return time.time() - max((path.stat().st_mtime for path in folder.glob("*/*/*/*/attempts/*.json")), default=0.0)
