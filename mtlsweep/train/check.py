"""Builds every part that a sweep's runs will need, so that a wrong value is found before the first one trains."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.settings import Settings, build
from mtlsweep.train.engine import resolve


def check_parts(runs: Sequence[Settings]) -> None:
    """Build the distinct engines, models, losses, curricula and data sets of these settings.

    A user's own strategy file is left to its run: its code is executed nowhere else, and its faults are that run's.

    Raises:
        UserError: a device does not exist, a value is out of range, files are missing.
    """
    for engine in _distinct(run["engine"] for run in runs):
        resolve(engine)
    for call in _distinct(run[group] for run in runs for group in ("curriculum", "loss", "model")):
        if "path" not in call:
            build(call)
    for images in _distinct(run["data"] for run in runs):
        data.load(DataConfig(**images))


def _distinct(nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(node, sort_keys=True): node for node in nodes}.values())
