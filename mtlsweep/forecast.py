"""How long the rest of a sweep will take."""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mtlsweep.progress import duration
from mtlsweep.settings import SIZES, build


class Forecast:
    """Of cells that are run in this order, from the seconds of those that have ended.

    A cell counts as the mean of ended cells of the same model and length. One that is new counts by its share of the arithmetic: a sweep
    that goes from small networks to large ones would else promise its end much too early.

    Args:
        runs: settings of the cells.
    """

    def __init__(self, runs: Sequence[dict[str, Any]]) -> None:
        self._left = [_kind(run) for run in runs]
        self._seen: list[tuple[_Kind, float]] = []

    def ended(self, seconds: float | None) -> None:
        """The next cell has ended and took so long; None: it says nothing about the others (it failed, or is another process's)."""
        kind = self._left.pop(0)
        if seconds is not None:
            self._seen.append((kind, seconds))

    def time_left(self) -> str:
        """For people; nothing before a cell has ended."""
        return f" (about {duration(sum(map(self._expected, self._left)))} left)" if self._seen else ""

    def _expected(self, kind: "_Kind") -> float:
        same = [seconds for other, seconds in self._seen if other == kind]
        if same:
            return sum(same) / len(same)
        return _work(kind) * sum(seconds for _, seconds in self._seen) / sum(_work(other) for other, _ in self._seen)


# A model's settings as JSON, and the number of images it is trained on over all epochs.
_Kind = tuple[str, int]


def _kind(run: dict[str, Any]) -> _Kind:
    images = run["data"]["train_size"] or SIZES[run["data"]["name"]]["train"]
    return json.dumps(run["model"], sort_keys=True), images * run["schedule"]["epochs"]


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
