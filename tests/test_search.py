"""What a search counts, asks for and leaves out, told by a dictionary in place of runs."""

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mtlsweep.errors import UserError

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install -e '.[optuna]'")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.storages import InMemoryStorage  # noqa: E402
from optuna.trial import Trial, TrialState  # noqa: E402

from mtlsweep.search import Measured, Params, Search, Space, make_sampler, parse  # noqa: E402

UNIT = Space(x=FloatDistribution(0.0, 1.0))
FOUR = Space(a=CategoricalDistribution(["p", "q"]), b=IntDistribution(1, 2))


class Place:
    """A storage, and the results of runs beside it."""

    def __init__(self) -> None:
        self.storage = InMemoryStorage()
        self.results: list[tuple[Params, Measured]] = []

    def open(self, trials: int, space: Space = UNIT, sampler: str = "TPESampler", direction: str = "maximize", **options: Any) -> Search:
        """The search, as a command of this many trials begins it."""
        study = optuna.create_study(
            storage=self.storage, study_name="s", sampler=make_sampler(sampler, options), direction=direction, load_if_exists=True
        )
        search = Search(study, space, trials, Path("none"), self.measure)
        search.begin()
        return search

    def measure(self, values: Sequence[Params]) -> list[Measured | None]:
        """The newest result of each."""
        return [next((found for params, found in reversed(self.results) if params == one), None) for one in values]

    def run(self, search: Search, trial: Trial, measured: Measured) -> None:
        """A trial has had its run."""
        self.results.append((trial.params, measured))
        search.tell(trial, measured)

    def finish(self, search: Search) -> list[Params]:
        """All trials that are left, each as good as its number; their values."""
        asked = []
        while trial := search.ask():
            asked.append(trial.params)
            self.run(search, trial, Measured(float(trial.number)))
        return asked

    @property
    def states(self) -> list[TrialState]:
        """Of all trials."""
        return [trial.state for trial in self.storage.get_all_trials(self.storage.get_study_id_from_name("s"))]


@pytest.fixture
def place() -> Place:
    return Place()


def asked(search: Search) -> Trial:
    """The next trial, where there is one."""
    trial = search.ask()
    assert trial
    return trial


def test_trials_of_an_earlier_command_count(place: Place) -> None:
    first = place.finish(place.open(2))
    search = place.open(3)
    assert (search.done, search.left, search.outdated) == (first, 1, set())


def test_trials_outside_the_space_count_neither_as_done_nor_as_best(place: Place) -> None:
    place.finish(place.open(2))
    search = place.open(2, Space(x=FloatDistribution(5.0, 6.0)))
    assert (search.done, search.left, search.best, search.outdated) == ([], 2, None, {0, 1})
    assert all(5 <= params["x"] <= 6 for params in place.finish(search))


def test_unfinished_values_outside_the_space_are_not_tried_again(place: Place) -> None:
    search = place.open(1)
    search.tell(asked(search), None)
    assert place.open(1).next
    assert not place.open(1, Space(x=FloatDistribution(5.0, 6.0))).next


def test_trial_whose_run_has_no_result_is_done_again(place: Place) -> None:
    """The run was deleted, or a file that decides its numbers has been edited."""
    values = place.finish(place.open(2))
    del place.results[0]
    search = place.open(2)
    assert (search.done, search.left, search.next) == (values[1:], 1, values[:1])
    assert place.finish(search) == values[:1]
    assert place.open(2).left == 0


def test_trial_whose_run_has_another_result_by_now_is_told_it(place: Place) -> None:
    (values,) = place.finish(place.open(1))
    place.results.append((values, Measured(7.0)))
    search = place.open(1)
    assert (search.done, search.best, search.next) == ([], None, [values])


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_diverged_trial_is_done_but_never_the_best(place: Place, direction: str) -> None:
    search = place.open(2, direction=direction)
    place.run(search, asked(search), Measured(None))
    assert search.best is None
    place.run(search, asked(search), Measured(3.0))
    continued = place.open(2, direction=direction)
    assert (len(continued.done), continued.left, continued.next) == (2, 0, [])
    assert continued.best
    assert continued.best.number == 1


def test_trial_that_was_told_how_good_a_run_was_before_it_diverged_is_told_again(place: Place) -> None:
    (values,) = place.finish(place.open(1))
    place.results.append((values, Measured(None)))
    search = place.open(1)
    assert (search.best, search.next) == (None, [values])


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 0)])
def test_best_goes_by_the_direction(place: Place, direction: str, best: int) -> None:
    search = place.open(3, direction=direction)
    place.finish(search)
    assert search.best
    assert search.best.number == best


def test_sampler_with_a_seed_asks_a_fresh_storage_for_the_same_trials(place: Place) -> None:
    assert place.finish(place.open(3, seed=1)) == Place().finish(Place().open(3, seed=1))


@pytest.mark.parametrize("ended", [None, Measured(1.0)])
def test_sampler_with_a_seed_repeats_no_trial_when_it_goes_on(place: Place, ended: Measured | None) -> None:
    search = place.open(3, seed=1)
    trial = asked(search)
    if ended:
        place.run(search, trial, ended)
    else:
        search.tell(trial, None)  # interrupted
    values = [trial.params, *place.finish(place.open(3, seed=1))] if ended else place.finish(place.open(3, seed=1))
    assert trial.params in values
    assert len(values) == len({one["x"] for one in values}) == 3


def test_two_processes_have_the_trials_of_one_search_between_them(place: Place) -> None:
    first, second = place.open(4, seed=1), place.open(4, seed=1)
    trials = []
    for search in [first, second] * 3:
        if trial := search.ask():
            trials.append(trial.params["x"])
            place.run(search, trial, Measured(1.0))
    assert len(trials) == len(set(trials)) == 4


def test_values_of_a_trial_that_others_run_are_not_tried_beside_it(place: Place) -> None:
    search = place.open(2)
    failed = asked(search)
    search.tell(failed, None)
    first, second = place.open(2), place.open(2)
    assert asked(first).params == failed.params
    assert asked(second).params != failed.params
    assert second.ask() is None


def test_values_that_were_chosen_again_by_a_process_that_was_then_killed_are_tried_once(place: Place) -> None:
    search = place.open(3)
    failed = asked(search)
    search.tell(failed, None)
    optuna.load_study(study_name="s", storage=place.storage).enqueue_trial(failed.params)
    assert place.finish(place.open(3)).count(failed.params) == 1


def test_values_that_wait_and_are_searched_no_more_are_passed_over(place: Place) -> None:
    place.open(1)
    optuna.load_study(study_name="s", storage=place.storage).enqueue_trial({"x": 0.5})
    values = place.finish(place.open(2, Space(x=FloatDistribution(5.0, 6.0))))
    assert len(values) == 2
    assert all(5 <= params["x"] <= 6 for params in values)


@pytest.mark.parametrize("batch", [1, 3])
def test_brute_force_ends_when_everything_has_been_tried(place: Place, batch: int) -> None:
    search = place.open(20, FOUR, "BruteForceSampler")
    values = []
    while trials := [trial for _ in range(batch) if (trial := search.ask())]:
        values += [trial.params for trial in trials]
        for trial in trials:
            place.run(search, trial, Measured(1.0))
    assert len(values) == FOUR.points(values) == 4
    assert search.exhausted
    assert place.open(20, FOUR, "BruteForceSampler").ask() is None


def test_brute_force_does_again_what_failed(place: Place) -> None:
    search = place.open(20, FOUR, "BruteForceSampler")
    failed = asked(search)
    search.tell(failed, None)
    assert len(place.finish(search)) == 3
    assert place.finish(place.open(20, FOUR, "BruteForceSampler")) == [failed.params]


def test_any_sampler_ends_when_there_is_nothing_left_to_try(place: Place) -> None:
    search = place.open(100, Space(a=CategoricalDistribution(["p", "q"])), seed=1)
    assert len(place.finish(search)) < 100
    assert search.exhausted


def test_sampler_that_the_space_does_not_suit_is_one_line(place: Place) -> None:
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.sampler=BruteForceSampler: .*step.*$"):
        place.open(1, sampler="BruteForceSampler").ask()


def test_choice_with_other_values_is_refused_before_a_trial_is_made(place: Place) -> None:
    place.finish(place.open(1, Space(a=CategoricalDistribution(["p", "q"]))))
    with pytest.raises(UserError, match=r"^a: .* This search had other values; give it another hydra\.sweeper\.study_name$"):
        place.open(2, Space(a=CategoricalDistribution(["p", "r"])))
    assert place.states == [TrialState.COMPLETE]


def test_sampler_that_needs_another_package_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.sampler=CmaEsSampler: needs cmaes: \.venv/bin/pip install cmaes$"):
        make_sampler("CmaEsSampler", {})


def test_sampler_that_was_asked_for_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_sampler("BruteForceSampler", {})


def test_grid_sampler_is_refused_for_the_grid() -> None:
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.sampler=GridSampler: .*hydra/sweeper=grid"):
        make_sampler("GridSampler", {"search_space": {"x": [1, 2]}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout": 1}, "hydra.sweeper.timeout: no such key; choose from direction, n_jobs, n_trials, params, sampler, sampler_options, "),
        ({"params": 5}, "hydra.sweeper.params=5: "),
        ({"sampler_options": "seed"}, "hydra.sweeper.sampler_options=seed: "),
        ({"n_trials": "many"}, "hydra.sweeper.n_trials=many: "),
    ],
)
def test_wrong_option_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(values)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
