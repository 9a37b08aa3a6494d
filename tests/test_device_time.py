"""Runs that take turns share the device's time: none of it is counted twice."""

import csv
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import TINY, CommandLine
from trained import result

from mtlsweep.train.run import Run


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
        assert all(0 < row["device_seconds"] < row["seconds"] for row in epochs)


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_time_between_a_runs_turns_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, run = Clock(), SimpleNamespace(away=0.0)
    monkeypatch.setattr("mtlsweep.train.run.time", clock)
    closed = []

    def steps() -> Generator[None, None, str]:
        try:
            for _ in range(3):
                clock.now += 1  # its own
                yield
        finally:
            closed.append(True)
        return "totals"

    turns = Run._own_time(cast(Run, run), steps())
    for _ in range(3):
        next(turns)
        clock.now += 10  # another's
    with pytest.raises(StopIteration) as end:
        next(turns)
    assert (end.value.value, run.away, clock.now, closed) == ("totals", 30.0, 33.0, [True])


def test_interruption_between_turns_ends_the_steps_too() -> None:
    closed = []

    def steps() -> Generator[None, None, None]:
        try:
            yield
        finally:
            closed.append(True)

    turns = Run._own_time(cast(Run, SimpleNamespace(away=0.0)), steps())
    next(turns)
    with pytest.raises(KeyboardInterrupt):
        turns.throw(KeyboardInterrupt())
    assert closed == [True]
