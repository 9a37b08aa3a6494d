"""What a tracker is told about a run, and what it has to do with it."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs import METRICS, RunDirectory, label
from mtlsweep.runs.provenance import provenance
from mtlsweep.runs.signature import dotted

# What an epoch's row measures. A row has the last of them in every epoch of every run.
MEASURED = tuple(name for name in METRICS if name != "epoch")
ALWAYS = "test_fine_acc"


@dataclass(frozen=True)
class Entry:
    """A run as a tracker knows it.

    Attributes:
        study: the study's folder.
        key: what tells the run from others of its study: the path of its directory there. A run that is done again (`rerun`) has a new one.
        name: for people.
        params: the options by group, and every setting that decides the run's numbers by dotted key.
        tags: signature, commit, what was said on the command line, and the engine.
        began: when the run's first attempt did: another run of this key has been removed, and is not gone on with. Empty: not known.
    """

    study: Path
    key: str
    name: str
    params: dict[str, Any]
    tags: dict[str, str]
    began: str = ""

    @classmethod
    def of(cls, directory: RunDirectory, description: Mapping[str, Any], engine: object) -> "Entry":
        """The entry of a run directory.

        Args:
            directory: of the run.
            description: content of its `run.json`.
            engine: what it is trained on and in; its text is for people.
        """
        path = directory.path.absolute()
        study = path.parents[3]
        again = directory.earlier()
        suffix = f"-again{again}" if again else ""
        name = label(description["options"], description["variant"], description["seed"]) + (f" (again {again})" if again else "")
        params = {"seed": description["seed"]} | description["options"] | dotted(description["identity"])
        tags = {"signature": description["signature"], "engine": str(engine), "overrides": " ".join(description["overrides"])}
        commit = provenance()["commit"]
        tags |= {"commit": commit} if commit else {}
        began = str(directory.attempt_record(1).get("started", ""))
        return cls(study, path.relative_to(study).as_posix() + suffix, name, params, tags, began)


class Logger(ABC):
    """A tracker's entry for one run. Whatever its methods raise is a warning to the user, and the end of its following (`Tracking`)."""

    @abstractmethod
    def start(self, entry: Entry) -> int:
        """Open the run's entry: the one that an earlier attempt began, or a new one.

        Returns:
            The number of epochs, counted from the first, that it holds already; they will not be logged again.
        """

    @abstractmethod
    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log an epoch: a row of `metrics.csv`, values by the names in `runs.METRICS`; None where there is none."""

    @abstractmethod
    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the result (`runs.Result`) and close the entry."""

    @abstractmethod
    def leave(self, state: str) -> None:
        """Close the entry of a run that ended without a result: "failed" or "interrupted"."""


class Nothing(Logger):
    """No tracker."""

    def start(self, entry: Entry) -> int:
        """Nothing."""
        return 0

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """Nothing."""

    def leave(self, state: str) -> None:
        """Nothing."""


def need(option: str, *packages: str) -> None:
    """Raise UserError where a logger's package is not installed; nothing is imported."""
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:  # a folder that happens to have the name
            raise UserError(f"logger={option} needs {package}: .venv/bin/pip install -e '.[{option}]'")


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those values that are numbers."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result, without the version of its form."""
    return {name: value for name, value in numbers(result).items() if name != "schema"}
