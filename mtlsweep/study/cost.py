"""What a study has cost, and what the rest of it will cost by the epochs that have been run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.forecast import Costs
from mtlsweep.runs import State
from mtlsweep.status import epoch_seconds
from mtlsweep.study.survey import Entry
from mtlsweep.words import duration, plural


@dataclass(frozen=True)
class Cost:
    """Device time, in seconds.

    Attributes:
        spent: by all runs; epochs that were lost by an interruption are not counted.
        expected: by the cells that have no result yet.
        left: the number of those cells.
        unknown: of these, the number that nothing is known about, because no run of their model has finished an epoch.
    """

    spent: float
    expected: float
    left: int
    unknown: int

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Cost":
        """That of a study."""
        return cls.of_rest(entries, {entry.path: entry.record.run["identity"] for entry in _unfinished(entries)})

    @classmethod
    def of_rest(cls, entries: Sequence[Entry], rest: Mapping[Path, dict[str, Any]], anew: Collection[Path] = ()) -> "Cost":
        """That of a study of which these runs are left.

        Args:
            entries: the study's cells.
            rest: identities of the runs, by their directories.
            anew: those of them that begin at their first epoch.
        """
        # What has a result and is to be done again begins anew.
        begun = {entry.path: epoch_seconds(entry.path) for entry in _unfinished(entries) if not entry.record.result}
        costs = _costs(entries, begun)
        left = [_left(identity, [] if path in anew else begun.get(path, []), costs) for path, identity in rest.items()]
        known = [seconds for seconds in left if seconds is not None]
        spent = sum(_seconds(entry.record.result) for entry in entries if entry.record.result) + sum(map(sum, begun.values()))
        return cls(spent, sum(known), len(rest), len(left) - len(known))

    @property
    def text(self) -> str:
        """For people."""
        return f"{duration(self.spent)} spent" + (f"; {self.rest}" if self.left else "")

    @property
    def rest(self) -> str:
        """What is to come, for people."""
        cells = plural(self.left, "cell")
        if self.unknown == self.left:
            return f"what {cells} will take is not known yet"
        but = f" (without {self.unknown} of models that no epoch has been run of)" if self.unknown else ""
        return f"about {duration(self.expected)} of device time to come, in {cells}{but}"


def _unfinished(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if not entry.finished and entry.word != "damaged"]


def _costs(entries: Iterable[Entry], begun: Mapping[Path, Sequence[float]]) -> Costs:
    """What runs say about others: those that were completed, and by their epochs those that have begun. (Diverged ones ended early.)"""
    costs = Costs()
    for entry in entries:
        identity = entry.record.run.get("identity", {})
        epochs = begun.get(entry.path)
        if entry.record.state is State.completed and entry.record.result:
            costs.add(identity, _seconds(entry.record.result))
        elif epochs:
            costs.add(identity, sum(epochs) / len(epochs) * identity["schedule"]["epochs"])
    return costs


def _left(identity: dict[str, Any], epochs: Sequence[float], costs: Costs) -> float | None:
    """Of one run; one that has begun goes on at its own speed."""
    return sum(epochs) / len(epochs) * (identity["schedule"]["epochs"] - len(epochs)) if epochs else costs.expected(identity)


def _seconds(result: dict[str, Any]) -> float:
    return float(result.get("device_seconds") or result["seconds"])
