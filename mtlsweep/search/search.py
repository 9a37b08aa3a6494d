"""A search that can be stopped at any moment and continued: what was begun or failed is done before something new is tried."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from mtlsweep.errors import UserError
from mtlsweep.runs.owner import Owner
from mtlsweep.search.space import Measured, Params, Space
from mtlsweep.search.study import OWNER, gone

# What a trial remembers: why its values are no run.
_REFUSED = "refused"

# Trials that have been told what came of them. (Optuna's samplers keep away from the values of a pruned one: its run diverged.)
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Search:
    """The trials of one search.

    A trial counts if its values are in the space, and the run that they ask for now has the result that the trial was told.

    Args:
        study: Optuna's.
        space: what is searched.
        trials: that the search has when it is done.
        folder: of the runs; a trial that a process on another host has begun is given up when all runs there have been silent for long.
        measure: what the runs of these values have come to; None for each that has no result.

    Raises:
        UserError: a setting was searched over other kinds of values before.
    """

    def __init__(
        self, study: Study, space: Space, trials: int, folder: Path, measure: Callable[[Sequence[Params]], Sequence[Measured | None]]
    ) -> None:
        # Samplers that have tried everything end Optuna's own loop, which does not run here; `left` knows it too.
        study.stop = lambda: None  # type: ignore[method-assign]
        self._study, self._space, self._trials = study, space, trials
        known = self._known()
        space.check(known)
        self._gone = gone(known, folder)
        self.outdated = self._without_result(known, measure)
        self._own: set[int] = set()
        self._failed: set[int] = set()
        self._reseeded = False
        self._again = self._unfinished(known)
        self.elsewhere = len(self._running(known))

    @property
    def done(self) -> list[Params]:
        """Values of the trials that count."""
        return [trial.params for trial in self._done(self._known())]

    @property
    def left(self) -> int:
        """How many trials are still to be asked for; what has failed under this command is not."""
        return self._left(self._known())

    @property
    def exhausted(self) -> bool:
        """Whether all values that there are have been tried."""
        return self._untried(self._known()) <= 0

    @property
    def next(self) -> list[Params]:
        """Values of those of the trials that are left that have been chosen."""
        known = self._known()
        return self._chosen(known)[: self._left(known)]

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the best value; None where none has one."""
        valued = [trial for trial in self._done(self._known()) if trial.value is not None]
        sign = 1 if self._study.direction is StudyDirection.MAXIMIZE else -1
        return max(valued, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def begin(self) -> None:
        """What other processes began and left counts as failed from here on."""
        for number in sorted(self._gone):
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def ask(self) -> Trial | None:
        """The next trial, with its values; None: there is none left. Other processes may search too, so the storage is asked each time.

        Raises:
            UserError: the sampler cannot choose values.
        """
        known = self._known()
        if not self._left(known):
            return None
        waiting = {trial.number: _fixed(trial) for trial in known if trial.state is TrialState.WAITING}
        chosen = self._chosen(known)
        if chosen and chosen[0] not in waiting.values():
            self._study.enqueue_trial(chosen[0])
        self._reseed(known)
        trial = self._begin_trial()
        if self._space.holds(waiting.get(trial.number, {})):
            self._suggest(trial)
            return trial
        self.refuse(trial, "its values are searched no more")
        return self.ask()

    def tell(self, trial: Trial, measured: Measured | None) -> None:
        """A trial has ended with this; None: with no result, so that it is done again when the search is continued."""
        if measured is None:
            self._failed.add(trial.number)
            state = TrialState.FAIL
        else:
            state = TrialState.PRUNED if measured.value is None else TrialState.COMPLETE
        self._study.tell(trial, measured.value if measured else None, state, skip_if_finished=True)

    def refuse(self, trial: Trial, why: str) -> None:
        """A trial's values are no run: it is not done again."""
        trial.set_user_attr(_REFUSED, why)
        self._study.tell(trial, state=TrialState.FAIL)

    def _begin_trial(self) -> Trial:
        trial = self._study.ask()
        self._own.add(trial.number)
        trial.set_user_attr(OWNER, vars(Owner.here()))
        return trial

    def _suggest(self, trial: Trial) -> None:
        try:
            self._space.suggest(trial)
        except (ImportError, TypeError, ValueError) as error:  # what samplers raise where values or options do not suit them
            self.refuse(trial, str(error))
            raise UserError(f"hydra.sweeper.sampler={type(self._study.sampler).__name__}: {str(error).partition(chr(10))[0]}") from error

    def _reseed(self, known: Sequence[FrozenTrial]) -> None:
        """A sampler with a seed would begin with the values that it began with when it made the trials that are there."""
        if not self._reseeded and any(trial.number not in self._own for trial in known):
            self._study.sampler.reseed_rng()
            self._reseeded = True

    def _known(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _done(self, known: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [trial for trial in known if trial.state in _ENDED and trial.number not in self.outdated]

    def _running(self, known: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [trial for trial in known if trial.state is TrialState.RUNNING and trial.number not in self._gone]

    def _spent(self, known: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        return [*self._done(known), *self._running(known), *(trial for trial in known if trial.number in self._failed)]

    def _settled(self, known: Sequence[FrozenTrial]) -> list[Params]:
        """Values that are not to be tried under this command (again)."""
        return [trial.params for trial in [*self._spent(known), *(trial for trial in known if _REFUSED in trial.user_attrs)]]

    def _untried(self, known: Sequence[FrozenTrial]) -> float:
        return self._space.size - self._space.points(self._settled(known))

    def _left(self, known: Sequence[FrozenTrial]) -> int:
        return int(max(0, min(self._trials - len(self._spent(known)), self._untried(known))))

    def _chosen(self, known: Sequence[FrozenTrial]) -> list[Params]:
        settled = self._settled(known)
        return [params for params in self._again if params not in settled]

    def _without_result(self, known: Sequence[FrozenTrial], measure: Callable[[Sequence[Params]], Sequence[Measured | None]]) -> set[int]:
        """Numbers of the trials that ended and do not count."""
        ended = [trial for trial in known if trial.state in _ENDED]
        fitting = [trial for trial in ended if self._fits(trial.params)]
        found = measure([trial.params for trial in fitting])
        counted = {trial.number for trial, measured in zip(fitting, found, strict=True) if measured and _same(trial.value, measured.value)}
        return {trial.number for trial in ended} - counted

    def _unfinished(self, known: Sequence[FrozenTrial]) -> list[Params]:
        """Values that were chosen and have no result, each once."""
        settled, found = self._settled(known), list[Params]()
        for trial in known:
            params = _fixed(trial) if trial.state is TrialState.WAITING else trial.params
            if self._fits(params) and params not in settled + found:
                found.append(params)
        return found

    def _fits(self, params: Params) -> bool:
        return params.keys() == self._space.keys() and self._space.holds(params)


def _fixed(trial: FrozenTrial) -> Params:
    """The values of a trial that waits to be asked for."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def _same(told: float | None, measured: float | None) -> bool:
    return told is measured is None or (told is not None and measured is not None and math.isclose(told, measured))
