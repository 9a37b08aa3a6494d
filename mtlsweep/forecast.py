"""What runs that have ended say about the cost of others: of a sweep that is going on, and of what a study still lacks."""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mtlsweep.settings import build, train_images
from mtlsweep.words import duration

# A run's settings, or its identity: both have the groups that decide how long it takes.
Run = dict[str, Any]


class Costs:
    """Seconds of runs, learned from those that have ended."""

    def __init__(self) -> None:
        # Sum and number, by the keys of `_keys`; by (model,) of the seconds for one image.
        self._sums: dict[tuple[str | int, ...], tuple[float, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, run: Run, seconds: float) -> None:
        """A run has ended that took so long."""
        for key, images in _keys(run).items():
            known, count = self._sums.get(key, (0.0, 0))
            self._sums[key] = known + seconds / images, count + 1

    def expected(self, run: Run) -> float | None:
        """Seconds of a run: the mean of those of the same model, length and strategy with its settings, else of the same whatever the
        strategy's settings, else of the same model and length, else, by the number of images, of the same model; None where none of this
        model has ended."""
        for key, images in _keys(run).items():
            if key in self._sums:
                known, count = self._sums[key]
                return images * known / count
        return None

    def by_work(self, run: Run) -> float:
        """Seconds of a run by its share of the arithmetic, where none of its model has ended. Times each model once: seconds."""
        ended = {key: value for key, value in self._sums.items() if len(key) == 2}
        done = sum(_work(str(model), int(images)) * count for (model, images), (_, count) in ended.items())
        return _work(*kind(run)) * sum(known for known, _ in ended.values()) / done


class Forecast:
    """How long the rest of a sweep will take: cells that are run in this order, from the seconds of those that have ended.

    A cell of a model that is new counts by its share of the arithmetic: a sweep that goes from small networks to large ones would else
    promise its end much too early.

    Args:
        runs: settings of the cells.
        lanes: how many of them run at once.
    """

    def __init__(self, runs: Sequence[Run], lanes: int = 1) -> None:
        self._lanes = lanes
        self._left = dict(enumerate(runs))
        self._costs = Costs()

    def ended(self, number: int, seconds: float | None) -> None:
        """The cell of this 0-indexed number took so long; None: it says nothing about the others (it failed, or is another process's)."""
        run = self._left.pop(number)
        if seconds is not None:
            self._costs.add(run, seconds)

    def time_left(self) -> str:
        """For people; nothing before a cell has ended."""
        if not self._costs:
            return ""
        expected = ((self._costs.expected(run), run) for run in self._left.values())
        left = sum(self._costs.by_work(run) if seconds is None else seconds for seconds, run in expected)
        return f" (about {duration(left / self._lanes)} left)"


def kind(run: Run) -> tuple[str, int]:
    """What decides how long a run takes, but for its strategy: the model's settings as JSON, and the images it sees over all epochs."""
    return json.dumps(run["model"], sort_keys=True), train_images(run["data"]) * run["schedule"]["epochs"]


def _keys(run: Run) -> dict[tuple[str | int, ...], int]:
    """What runs may have in common, most first, and by how many images their seconds are divided to be compared."""
    model, images = kind(run)
    loss = run.get("loss", {})
    named = str(loss.get("source") or loss.get("path") or loss.get("_target_"))
    # A strategy's settings decide how many passes it takes (`scope`, `refresh`), or change nothing in its cost.
    return {(model, images, named, json.dumps(loss, sort_keys=True)): 1, (model, images, named): 1, (model, images): 1, (model,): images}


def _work(model: str, images: int) -> float:
    return _forward_seconds(model) * images


@lru_cache
def _forward_seconds(model: str) -> float:
    """Of a few images through a model, on the processor: only ratios between models matter."""
    import torch

    network = build(json.loads(model)).eval()
    images = torch.zeros(16, 3, 32, 32)
    with torch.inference_mode():
        network(images)  # the first pass pays for memory and kernels
        began = time.perf_counter()
        network(images)
    return time.perf_counter() - began
