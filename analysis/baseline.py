"""Strategies against a baseline, within each architecture and over all of them, and what the number of seeds allows to be said."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, mode

import pandas as pd

from analysis.statistics import LEVEL, Estimate, Permutation, Spread, estimate, holm, permutation, pooled, resolvable, welch
from analysis.table import Entry, Table

BASELINE = "fine_only"

# Percentage points: a smaller difference is of no consequence; published entries of the benchmark lie 0.1 to 1 apart.
RESOLVE = 0.5


@dataclass(frozen=True)
class OfMeans:
    """The difference of two means, of runs that need not be of the same seeds.

    Attributes:
        mean: a strategy's less the baseline's, percentage points.
        low, high: its 95 % interval (Welch); None where either shows no spread.
        n: number of seeds of the strategy and of the baseline.
    """

    mean: float
    low: float | None
    high: float | None
    n: tuple[int, int]


@dataclass(frozen=True)
class Line:
    """One strategy of a table.

    Attributes:
        differences: from the baseline, by column of the table; None where no seed is shared.
        of_means: from the baseline of all seeds, paired or not, by column; None where both have the same, or not all that were asked for.
        pooled: the test over all columns; None unless every entry of strategy and baseline is complete and has pairs.
        adjusted: its p corrected by Holm's method for the strategies it is chosen among; None outside of that list.
        geometric_mean: of the columns' mean accuracies; None unless all are complete. So too the next two.
        rank: mean over the columns of the rank of the mean accuracy, 1 is best, among the strategies complete everywhere that have the
            most seeds; None where there is only one of them.
        hours: device-hours of one seed on every architecture, mean over seeds.
    """

    differences: list[Estimate | None]
    of_means: list[OfMeans | None]
    pooled: Permutation | None = None
    adjusted: float | None = None
    geometric_mean: float | None = None
    rank: float | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A table's strategies against one of them.

    Attributes:
        table: what is compared.
        baseline: the strategy's label, or None where the table does not have it; there are no differences then.
        lines: by strategy, the baseline's own too.
        family: number of strategies that Holm's correction is for.
        resolve: the difference that matters, percentage points.
    """

    table: Table
    baseline: str | None
    lines: dict[str, Line]
    family: int
    resolve: float


def compare(table: Table, baseline: str = BASELINE, family: Collection[str] | None = None, resolve: float = RESOLVE) -> Comparison:
    """Compare a table's strategies with one of them.

    Args:
        table: of one setting.
        baseline: label of a strategy, as in the table.
        family: labels of the strategies that p values are corrected for; None: all.
        resolve: the difference that matters, percentage points.
    """
    known = table.rows.get(baseline)
    ranks = _ranks(table)
    lines = {name: _line(table, name, known if name != baseline else None, ranks.get(name)) for name in table.rows}
    adjusted = _adjusted({name: line.pooled for name, line in lines.items() if family is None or name in family})
    lines = {name: replace(line, adjusted=adjusted.get(name)) for name, line in lines.items()}
    return Comparison(underline(table, resolve), baseline if known else None, lines, len(adjusted), resolve)


def difference(entry: Entry, baseline: Entry) -> Estimate | None:
    """Of the accuracies that are compared of the seeds that both have completed; None where there is none."""
    pairs = _pairs(entry, baseline)
    return estimate(pairs) if pairs else None


def difference_of_means(entry: Entry, baseline: Entry) -> OfMeans | None:
    """Of all seeds of both; None where they have the same, which make pairs, or where runs that were asked for are missing."""
    if entry.seeds.keys() == baseline.seeds.keys() or not (entry.complete and baseline.complete):
        return None
    ours, others = list(entry.seeds.values()), list(baseline.seeds.values())
    low, high = welch(ours, others) or (None, None)
    return OfMeans(fmean(ours) - fmean(others), low, high, (len(ours), len(others)))


def underline(table: Table, resolve: float = RESOLVE) -> Table:
    """The table with `tied` set where the paired t test against the column's best, corrected by Holm's method within the column, finds no
    difference although, with the spread seen, it finds `resolve` points with 80 % power."""
    columns = [_tie([row[place] for row in table.rows.values()], resolve) for place in range(len(table.columns))]
    return replace(table, rows={name: list(row) for name, row in zip(table.rows, zip(*columns, strict=True), strict=True)})


def typical_spread(comparison: Comparison, column: int) -> tuple[Spread, int, int] | None:
    """Of the strategies' differences from the baseline in a column: their spread, the n that most of them have, and their number; None
    where no strategy has two pairs."""
    known = [found for line in comparison.lines.values() if (found := line.differences[column]) and found.n > 1]
    return (pooled(known), mode(found.n for found in known), len(known)) if known else None


def _tie(entries: list[Entry], resolve: float) -> list[Entry]:
    best = next((entry for entry in entries if entry.best), None)
    if best is None:
        return entries
    others = {place: difference(entry, best) for place, entry in enumerate(entries) if entry.complete and not entry.best}
    tested = {place: found for place, found in others.items() if found and found.n > 1}
    adjusted = dict(zip(tested, holm([_p(found) for found in tested.values()]), strict=True))
    # The test must have had the chance at the level that the correction asks of its first step.
    could = {place for place, found in tested.items() if (resolvable(found.sd or 0.0, found.n, LEVEL / len(tested)) or 0.0) <= resolve}
    return [replace(entry, tied=True) if place in could and adjusted[place] > LEVEL else entry for place, entry in enumerate(entries)]


def _p(found: Estimate) -> float:
    """Differences without spread are either all 0, or as sure as so many pairs can be."""
    return found.p if found.p is not None else float(found.mean == 0)


def _line(table: Table, name: str, baseline: list[Entry] | None, rank: float | None) -> Line:
    entries = table.rows[name]
    pairs = list(zip(entries, baseline, strict=True)) if baseline else []
    differences = [difference(*pair) for pair in pairs] or [None] * len(entries)
    of_means = [difference_of_means(*pair) for pair in pairs] or [None] * len(entries)
    if not all(entry.complete for entry in entries):
        return Line(differences, of_means)
    hours = [entry.hours for entry in entries if entry.hours is not None]
    return Line(
        differences,
        of_means,
        pooled=_pooled(entries, baseline) if baseline else None,
        geometric_mean=math.prod(entry.values[table.measure].mean for entry in entries) ** (1 / len(entries)),
        rank=rank,
        hours=sum(hours) if len(hours) == len(entries) else None,
    )


def _pooled(entries: list[Entry], baseline: list[Entry]) -> Permutation | None:
    # Runs of one seed on two architectures share no weights and no activations: each counts as a pair of its own.
    pairs = [_pairs(*both) for both in zip(entries, baseline, strict=True)]
    if not all(entry.complete for entry in baseline) or not all(pairs):
        return None
    return permutation([pair for column in pairs for pair in column])


def _pairs(entry: Entry, baseline: Entry) -> list[float]:
    return [value - baseline.seeds[seed] for seed, value in sorted(entry.seeds.items()) if seed in baseline.seeds]


def _adjusted(tests: Mapping[str, Permutation | None]) -> dict[str, float]:
    known = {name: test.p for name, test in tests.items() if test}
    return dict(zip(known, holm(list(known.values())), strict=True))


def _ranks(table: Table) -> dict[str, float]:
    complete = {name: entries for name, entries in table.rows.items() if all(entry.complete for entry in entries)}
    # As for the best of a column: the mean of fewer seeds is the surer to be extreme.
    most = [max(entry.n for entry in column) for column in zip(*complete.values(), strict=True)]
    means = {
        name: [round(one.values[table.measure].mean, 6) for one in row] for name, row in complete.items() if [one.n for one in row] == most
    }
    if len(means) < 2:
        return {}
    ranks = pd.DataFrame.from_dict(means, orient="index").rank(ascending=False)
    return {str(name): float(rank) for name, rank in ranks.mean(axis=1).items()}
