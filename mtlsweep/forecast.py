"""How long the rest of a sweep will take."""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mtlsweep.progress import duration
from mtlsweep.settings import build, train_images


class Forecast:
    """Of cells that are run in this order, from the seconds of those that have ended.

    A cell counts as the mean of ended cells of the same model and length. One that is new counts by its share of the arithmetic: a sweep
    that goes from small networks to large ones would else promise its end much too early.

    Args:
        runs: settings of the cells.
        lanes: how many of them run at once.
    """

    def __init__(self, runs: Sequence[dict[str, Any]], lanes: int = 1) -> None:
        self._lanes = lanes
        self._left = dict(enumerate(map(_kind, runs)))
        self._seen: list[tuple[_Kind, float]] = []

    def ended(self, number: int, seconds: float | None) -> None:
        """The cell of this 0-indexed number took so long; None: it says nothing about the others (it failed, or is another process's)."""
        kind = self._left.pop(number)
        if seconds is not None:
            self._seen.append((kind, seconds))

    def time_left(self) -> str:
        """For people; nothing before a cell has ended."""
        return f" (about {duration(sum(map(self._expected, self._left.values())) / self._lanes)} left)" if self._seen else ""

    def _expected(self, kind: "_Kind") -> float:
        same = [seconds for other, seconds in self._seen if other == kind]
        if same:
            return sum(same) / len(same)
        return _work(kind) * sum(seconds for _, seconds in self._seen) / sum(_work(other) for other, _ in self._seen)


# A model's settings as JSON, and the number of images it is trained on over all epochs.
_Kind = tuple[str, int]


def _kind(run: dict[str, Any]) -> _Kind:
    return json.dumps(run["model"], sort_keys=True), train_images(run["data"]) * run["schedule"]["epochs"]


def _work(kind: _Kind) -> float:
    return _forward_seconds(kind[0]) * kind[1]


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
