import json
from typing import Any

import pytest

from mtlsweep import forecast as forecast_module
from mtlsweep.forecast import Forecast
from mtlsweep.words import duration


def run(depth: int, epochs: int = 3, **loss: Any) -> dict[str, Any]:
    model = {"_target_": "mtlsweep.models.resnet", "depth": depth, "width": 16}
    data = {"name": "synthetic", "train_size": 100, "validation": 0}
    return {"model": model, "data": data, "schedule": {"epochs": epochs}, "loss": loss}


def test_nothing_is_promised_before_a_cell_has_ended() -> None:
    assert Forecast([run(8)] * 3).time_left() == ""


def test_cells_of_a_kind_count_as_the_mean_of_those_that_ended() -> None:
    forecast = Forecast([run(8)] * 5)
    forecast.ended(0, 10)
    forecast.ended(1, 20)
    assert forecast.time_left() == " (about 45 s left)"


def test_a_strategy_is_told_from_another_by_its_settings_too() -> None:
    """With `scope=representation` it takes one backward pass through the trunk, not two. Where none like it has ended, its others count."""
    mgda = [run(8, _target_="MGDA", scope=scope) for scope in ("trunk", "representation", "trunk", "fine_path")]
    forecast = Forecast([*mgda, run(8, _target_="Equal")])
    forecast.ended(0, 30)
    forecast.ended(1, 10)
    forecast.ended(4, 5)
    assert forecast.time_left() == f" (about {duration(30 + 20)} left)"


def test_runs_that_take_turns_end_sooner_and_in_any_order() -> None:
    forecast = Forecast([run(8)] * 5, lanes=2)
    forecast.ended(1, 20)
    assert forecast.time_left() == " (about 40 s left)"


def test_longer_cells_and_larger_models_count_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "_forward_seconds", lambda model: json.loads(model)["depth"] / 1000)
    longer, larger = Forecast([run(8), run(8, epochs=12)]), Forecast([run(8), run(56)])
    for forecast in (longer, larger):
        forecast.ended(0, 10)
    assert longer.time_left() == " (about 40 s left)"
    assert larger.time_left() == " (about 1 min 10 s left)"


def test_durations_are_for_people() -> None:
    assert [duration(value) for value in (4.4, 65, 3600, 7830)] == ["4 s", "1 min 05 s", "1 h 00 min", "2 h 10 min"]
