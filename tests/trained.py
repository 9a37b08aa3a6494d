"""Runs made by the command line in this process, and what they wrote."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, CommandLine

from mtlsweep.progress import Display
from mtlsweep.runs import TIME_COLUMNS


def metrics(run: Path) -> list[dict[str, str]]:
    """The rows of a run, time aside."""
    with open(run / "metrics.csv") as file:
        return [{key: value for key, value in row.items() if key not in TIME_COLUMNS} for row in csv.DictReader(file)]


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def train(cli: CommandLine, *arguments: str, study: str = "s") -> Path:
    ended = cli(*TINY, f"study={study}", *arguments)
    assert ended.status == 0, ended
    (run,) = (path.parent for path in Path("runs", study).glob("**/run.json"))
    return run


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the step after so many."""
    original = Display.step
    count = 0

    def step(self: Display) -> None:
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        original(self)

    monkeypatch.setattr(Display, "step", step)
