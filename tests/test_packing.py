"""How `lanes=auto` finds its number: on measurements that are given, and on a run that is tried."""

from dataclasses import replace
from typing import Any

import pytest
import test_engine
import torch
from conftest import TINY, CommandLine
from recorded import refuses
from tape import TapeRecorder

from mtlsweep.catalogue import OPTIONS, call_of
from mtlsweep.errors import UserError
from mtlsweep.slurm.options import parse
from mtlsweep.train import build as build_module
from mtlsweep.train import packing
from mtlsweep.train.engine import Engine, resolve
from mtlsweep.train.packing import Measured, Trial, find_lanes, search

GIB = 2**30
AUTO = test_engine.AUTO | {"precision": "fp32", "threads": 1}


def given(rates: dict[int, float], memory: float = 0.5) -> Any:
    """A measurement: images a second by lanes, GiB of a run. What is not given is not to be asked for."""
    return lambda lanes: Measured(rates[lanes], round(lanes * memory * GIB))


@pytest.mark.parametrize(
    ("rates", "most", "chosen", "why"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 310}, 100, 4, "300 images/s, 3.00 times one run's; 8 would give 1.03 times that"),
        ({1: 100, 2: 105}, 100, 1, "2 would give 1.05"),
        ({1: 100, 2: 200, 4: 400, 8: 800, 16: 1600}, 100, 16, "more are not tried"),
        ({1: 100, 2: 200, 3: 280}, 3, 3, "there are no more runs"),
        ({1: 100, 2: 200, 4: 400}, 4, 4, "there are no more runs"),
        ({}, 1, 1, "there is only one run"),
    ],
)
def test_lanes_are_added_as_long_as_they_give_a_tenth_more(rates: dict[int, float], most: int, chosen: int, why: str) -> None:
    found = search(given(rates), most, free=80 * GIB)
    assert found.number == chosen
    assert why in str(found)


def test_lanes_are_not_tried_for_which_memory_would_not_suffice() -> None:
    found = search(given({1: 100, 2: 200, 4: 400}, memory=2), 100, free=16 * GIB)
    assert (found.number, "memory would not suffice for 8" in found.reason) == (4, True)


def test_memory_that_runs_out_all_the_same_ends_the_search() -> None:
    measured = given({1: 100, 2: 200})
    assert search(lambda lanes: measured(lanes) if lanes < 4 else None, 100, free=80 * GIB).number == 2
    assert search(lambda lanes: None, 100, free=80 * GIB).number == 1


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "model": {"_target_": "mtlsweep.models.resnet", "depth": 8, "width": 2},
        "loss": call_of(OPTIONS / "haw.yaml"),
        "curriculum": {"_target_": "mtlsweep.curriculum.Constant", "value": 1.0},
        "data": {"name": "synthetic", "train_size": 100, "test_size": 100, "validation": 0},
        "schedule": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 50, "epochs": 3},
        "engine": AUTO,
        "seed": 1,
    } | changes


@pytest.fixture
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "WARM_TURNS", 8)
    monkeypatch.setattr(packing, "TIMED_TURNS", 10)


@pytest.mark.usefixtures("few_turns")
def test_a_trial_measures_runs_that_go_on_as_long_as_needed() -> None:
    trial = Trial(settings(), resolve(AUTO))
    for lanes in (1, 2):
        measured = trial.measure(lanes)
        assert measured is not None
        assert measured.images_per_second > 0
    trial.end()


@pytest.mark.usefixtures("few_turns")
def test_memory_that_runs_out_while_steps_are_recorded_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run would go on without a recording, and slowly: such lanes are not measured."""
    recorders = iter([TapeRecorder(), refuses])
    monkeypatch.setattr(build_module, "_record", lambda trainer: setattr(trainer, "record", next(recorders)))
    trial = Trial(settings(), replace(resolve(AUTO), graph=True))
    assert trial.measure(1) is not None
    assert trial.measure(2) is None
    trial.end()


@pytest.mark.usefixtures("few_turns")
def test_a_strategy_that_cannot_be_recorded_is_measured_as_it_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_record", lambda trainer: setattr(trainer, "record", refuses))
    trial = Trial(settings(), replace(resolve(AUTO), graph=True))
    assert all(trial.measure(lanes) is not None for lanes in (1, 2))
    trial.end()


@pytest.mark.parametrize(("epochs", "compiled"), [(3, False), (2500, True)])
def test_a_trial_is_compiled_where_the_run_will_be(monkeypatch: pytest.MonkeyPatch, epochs: int, compiled: bool) -> None:
    tried: list[Engine] = []

    class Tried(Trial):
        def __init__(self, settings: dict[str, Any], engine: Engine) -> None:
            tried.append(engine)
            super().__init__(settings, replace(engine, compile=False))

        def measure(self, lanes: int) -> Measured | None:
            return Measured(100.0, 1)

    monkeypatch.setattr(packing, "Trial", Tried)
    given = settings()
    assert packing._try(given | {"schedule": given["schedule"] | {"epochs": epochs}}, 4).number == 1
    assert [engine.compile for engine in tried] == [compiled]


def test_on_a_cpu_there_is_one_lane_without_a_trial(cli: CommandLine) -> None:
    assert find_lanes([settings(), settings()]).number == 1
    ended = cli("-m", *TINY, "loss=equal,mean", "hydra.launcher.lanes=auto", "engine.device=cpu")
    assert ended.status == 0, ended
    assert "lanes: 1 (on a CPU runs gain nothing by taking turns)" in ended.out.splitlines()


@pytest.mark.parametrize("lanes", ["auto", 3])
def test_a_cluster_takes_it_too(lanes: str | int) -> None:
    assert parse({"lanes": lanes}).lanes == lanes


@pytest.mark.parametrize("lanes", ["many", 0])
def test_a_cluster_takes_nothing_else(lanes: str | int) -> None:
    with pytest.raises(UserError, match=f"hydra.launcher.lanes={lanes}: must be a whole number of at least 1, or auto"):
        parse({"lanes": lanes})


def test_in_several_processes_a_number_is_asked_for(cli: CommandLine) -> None:
    ended = cli("-m", *TINY, "loss=equal,mean", "hydra.launcher.lanes=auto", "hydra.launcher.n_jobs=2")
    assert ended.status == 2
    assert "hydra.launcher.lanes=auto: is found in one process; with hydra.launcher.n_jobs give a number" in ended.err


def test_what_cannot_be_tried_gets_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_gpu(given: dict[str, Any]) -> Engine:
        return Engine(torch.device("cuda"), "fp32", channels_last=True, threads=1, compile=True, graph=True)

    def fails(given: dict[str, Any], most: int) -> None:
        raise RuntimeError("no kernel image is available\nand more")

    monkeypatch.setattr(packing, "resolve", on_a_gpu)
    monkeypatch.setattr(packing, "_try", fails)
    assert str(find_lanes([settings()])) == "lanes: 1 (the first run could not be tried: RuntimeError: no kernel image is available)"
    own = settings(loss={"_target_": "mtlsweep.losses.user.load", "path": __file__})
    assert "code of your own is executed in its run only" in str(find_lanes([own]))
