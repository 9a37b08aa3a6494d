"""Our accuracies beside the published ones of the benchmark (`published.csv`: percent, one line a run, with its source)."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.sheet import Sheet
from analysis.statistics import Estimate, estimate
from analysis.table import Entry, Table

# The recipe under which accuracies were published (cv-multitask-loss of MLS-Bench, arXiv:2605.08678).
RECIPE = {
    "data.name": "cifar100",
    "data.train_size": None,
    "data.test_size": None,
    "data.validation": 0,
    "schedule.epochs": 200,
    "schedule.batch_size": 128,
    "schedule.lr": 0.1,
    "schedule.momentum": 0.9,
    "schedule.weight_decay": 0.0005,
}


@dataclass(frozen=True)
class Beside:
    """One entry of a table, and what was published for it.

    Attributes:
        strategy, architecture: labels in the table.
        entry: ours.
        ours, theirs: mean best accuracies over seeds, percent.
        within: whether the difference of the two lies within both 95 % intervals; None where one of them has none.
        name: what they call the strategy.
        note: how theirs is another thing than ours; "" where it is not.
    """

    strategy: str
    architecture: str
    entry: Entry
    ours: Estimate
    theirs: Estimate
    within: bool | None
    name: str
    note: str


def departures(runs: pd.DataFrame) -> list[str]:
    """How the setting of some runs, which they share, differs from the benchmark's recipe; empty where it does not."""
    run = runs.iloc[0]
    found = {key: run.get(key) for key in RECIPE}
    return [f"{key} is {_text(value)}, published {_text(RECIPE[key])}" for key, value in found.items() if not _same(value, RECIPE[key])]


def beside(table: Table) -> list[Beside]:
    """The entries of a table that something was published for, in the table's order."""
    known = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False, dtype={"seed": "str"})
    groups = {(str(strategy), str(model)): runs for (strategy, model), runs in known.groupby(["strategy", "model"])}
    return [
        _beside(strategy, architecture, entry, groups[strategy, architecture])
        for strategy, entries in table.rows.items()
        for architecture, entry in zip(table.columns, entries, strict=True)
        if (strategy, architecture) in groups and entry.n
    ]


def sheet(found: list[Beside]) -> Sheet:
    """Ours and theirs, their difference, and whether it lies within both intervals."""
    rows = [(f"{one.strategy}, {one.architecture}", _words(one)) for one in found]
    notes = {f"{one.strategy} ({one.name}): {one.note}." for one in found if one.note}
    return Sheet(
        "Beside the published best fine test accuracies (%)",
        "strategy, architecture",
        ["ours", "published", "difference", "within both"],
        rows,
        [
            "Published: MLS-Bench (arXiv:2605.08678), fine_only of chenyaofo/pytorch-cifar-models. Within both: the difference is "
            "smaller than the half-width of the 95 % t interval of either mean; one seed has no interval.",
            *sorted(notes),
        ],
    )


def _beside(strategy: str, architecture: str, entry: Entry, runs: pd.DataFrame) -> Beside:
    ours, theirs = estimate(list(entry.seeds.values())), estimate(runs["best_fine_acc"].tolist())
    within = None
    if ours.low is not None and ours.high is not None and theirs.low is not None and theirs.high is not None:
        within = ours.low <= theirs.mean <= ours.high and theirs.low <= ours.mean <= theirs.high
    return Beside(strategy, architecture, entry, ours, theirs, within, str(runs["name"].iloc[0]), str(runs["note"].iloc[0]))


def _words(one: Beside) -> list[str]:
    verdict = {True: "yes", False: "no", None: "not known"}[one.within]
    asked = one.entry.n + sum(one.entry.absent.values())
    short = f" of {asked}" if asked > one.entry.n else ""
    return [_spell(one.ours) + short, _spell(one.theirs), f"{one.ours.mean - one.theirs.mean:+.2f}", verdict]


def _spell(found: Estimate) -> str:
    return f"{found.mean:.2f}{'' if found.sd is None else f' ± {found.sd:.2f}'} n={found.n}"


def _same(value: object, published: object) -> bool:
    return pd.isna(value) if published is None else value == published  # type: ignore[call-overload]


def _text(value: object) -> str:
    return "all" if value is None or value != value else str(value)
