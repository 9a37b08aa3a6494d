"""Builds every part that a sweep's runs will need, so that a wrong value is found before the first one trains."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.errors import UserError
from mtlsweep.settings import Settings, build
from mtlsweep.train.engine import resolve


def check_calls(runs: Sequence[Settings]) -> None:
    """Build the distinct models, losses, curricula and loggers of these settings.

    A user's own strategy file is left to its run: its code is executed nowhere else, and its faults are that run's.

    Raises:
        UserError: values are out of range; one line for each.
    """
    calls = _distinct(run[group] for run in runs for group in ("curriculum", "loss", "model", "logger"))
    _try_all(build, [call for call in calls if "path" not in call])


def check_machine(runs: Sequence[Settings]) -> None:
    """Find the devices and load the data sets of these settings.

    Raises:
        UserError: a device does not exist, files are missing or damaged; one line for each.
    """
    _try_all(resolve, _distinct(run["engine"] for run in runs))
    _try_all(lambda images: data.load(DataConfig(**images)), _distinct(run["data"] for run in runs))


def _distinct(nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(node, sort_keys=True): node for node in nodes}.values())


def _try_all(check: Callable[[dict[str, Any]], object], nodes: Iterable[dict[str, Any]]) -> None:
    faults = []
    for node in nodes:
        try:
            check(node)
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
