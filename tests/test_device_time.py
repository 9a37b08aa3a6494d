"""Runs that take turns share the device's time: none of it is counted twice."""

import csv
import time
from pathlib import Path

import pytest
from conftest import TINY, CommandLine
from trained import result

from mtlsweep.train.lanes import FairClock


def rows(run: Path) -> list[dict[str, float]]:
    with open(run / "metrics.csv") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.parametrize("lanes", [1, 3])
def test_device_time_of_runs_adds_up_to_less_than_the_clocks(cli: CommandLine, lanes: int) -> None:
    began = time.monotonic()
    assert cli("-m", *TINY, "seed=1,2,3", f"hydra.launcher.lanes={lanes}").status == 0
    passed = time.monotonic() - began
    runs = [path.parent for path in Path("runs").glob("**/run.json")]
    assert sum(result(run)["device_seconds"] for run in runs) <= passed
    for run in runs:
        epochs = rows(run)
        assert result(run)["device_seconds"] == pytest.approx(sum(row["device_seconds"] for row in epochs), rel=1e-5)
        assert all(row["device_seconds"] > 0 for row in epochs)


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_shares_of_runs_that_take_turns_add_up_to_the_time_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("mtlsweep.train.lanes.time", clock)
    fair = FairClock()
    first = fair.now()
    clock.now += 3  # the first run alone
    fair.divide_by(2)
    second = fair.now()
    clock.now += 10  # both
    shares = [fair.now() - first, fair.now() - second]
    assert shares == [8.0, 5.0]
    assert sum(shares) == clock.now
    second = fair.now()
    with fair.stopped():  # a third is built
        clock.now += 7
    clock.now += 2
    assert fair.now() - second == 1
    fair.divide_by(0)
    ended = fair.now()
    clock.now += 1
    assert fair.now() - ended == 1
