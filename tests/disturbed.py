"""Sweeps to be disturbed: a strategy whose process can be made to fail, and what its runs are afterwards compared with."""

import json
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conftest import EVERY_EPOCH, TINY, Ended, finish, start
from trained import metrics

# Its numbers do not depend on the variables, so a disturbed sweep can be compared with an undisturbed one.
STRATEGY = '''
import os
import time

import torch
from torch import nn


def first(path):
    """Whether this is the first of all processes to ask."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def fill(path):
    """Until the disk is full."""
    try:
        with open(path, "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


class MultiTaskLoss(nn.Module):
    def __init__(self, num_tasks=2):
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(()))

    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        time.sleep(float(os.environ.get("PACE", 0)))
        fault = os.environ.get("FAULT")
        if fault and epoch == 2 and first(os.environ["FAULT_ONCE"]):
            if fault == "exception":
                raise RuntimeError("out of ideas")
            if fault == "SIGKILL":
                os.kill(os.getpid(), 9)
            if fault == "memory":
                hog = b"x" * (3 << 30)
                time.sleep(60)
            fill(fault)
        return fine_loss + torch.exp(self.log_weight) * coarse_loss
'''
EPOCHS = 8
CELLS = ["-m", *TINY, EVERY_EPOCH, f"schedule.epochs={EPOCHS}", "loss=user/file", "loss.path=my_loss.py"]


def command(*arguments: str, directory: Path, **variables: str) -> Ended:
    return finish(start(arguments, directory, **variables))


def runs(directory: Path) -> dict[int, Path]:
    """Run directories by seed."""
    return {json.loads(path.read_text())["seed"]: path.parent for path in directory.glob("runs/*/*/*/*/*/run.json")}


def attempts(directory: Path) -> dict[int, int]:
    return {seed: len(list(path.glob("attempts/*.json"))) for seed, path in sorted(runs(directory).items())}


def epochs(directory: Path) -> int:
    """Of the run that is furthest."""
    return max((len(metrics(path)) for path in runs(directory).values() if (path / "metrics.csv").exists()), default=0)


def results(directory: Path) -> int:
    return len(list(directory.glob("runs/**/result.json")))


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert process is None or process.poll() is None, process and finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)


@cache
def undisturbed() -> dict[int, Any]:
    """Metrics of seeds 1 to 6, trained on this machine without any disturbance."""
    with TemporaryDirectory() as directory:
        (Path(directory) / "my_loss.py").write_text(STRATEGY)
        assert command(*CELLS, "seed=1,2,3,4,5,6", directory=Path(directory)).status == 0
        return {seed: metrics(path) for seed, path in runs(Path(directory)).items()}


def assert_as_undisturbed(directory: Path) -> None:
    """All runs have results, and their numbers are those of an undisturbed sweep, bit for bit."""
    for seed, path in runs(directory).items():
        assert metrics(path) == undisturbed()[seed]
        assert (path / "result.json").exists()
