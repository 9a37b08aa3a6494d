"""Our accuracies beside the published ones of the benchmark (`published.csv`: percent, one line a run, with its source)."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.names import text
from analysis.row import OF_GROUPS
from analysis.sheet import Sheet, interval
from analysis.statistics import Estimate, estimate, welch
from analysis.table import RECIPE, Entry, Table, labels

# Strategies that are what was published under another one's name, which stands in the file with what differs; and what is not known of it.
PUBLISHED_AS = {"pcgrad_mlsbench": "pcgrad", "pcgrad_mlsbench_walked": "pcgrad"}
NOT_KNOWN = "theirs is pcgrad_mlsbench or pcgrad_mlsbench_walked, by its version of torch, which is not published"


@dataclass(frozen=True)
class Beside:
    """One entry of a table, and what was published for it.

    Attributes:
        strategy, architecture: labels in the table.
        entry: ours.
        ours, theirs: mean best accuracies over seeds, percent.
        interval: the 95 % interval of the difference of the two, ours less theirs; None where one of them shows no spread.
        name: what they call the strategy.
        note: how theirs is another thing than ours, or may be; "" where it is not.
    """

    strategy: str
    architecture: str
    entry: Entry
    ours: Estimate
    theirs: Estimate
    interval: tuple[float, float] | None
    name: str
    note: str


def departures(runs: pd.DataFrame) -> list[str]:
    """How the setting of some runs, which they share, differs from the benchmark's recipe, or what of it is not known; else empty."""
    run = runs.iloc[0]
    found = {key: None if pd.isna(run.get(key)) else run[key] for key in RECIPE}
    # Of sizes nothing is said where all images are taken.
    unknown = [key for key, value in found.items() if value is None and RECIPE[key] is not None]
    other = [key for key, value in found.items() if key not in unknown and value != RECIPE[key]]
    return [
        *([f"not in the file: {', '.join(unknown)}"] if unknown else []),
        *(f"{key} is {text(found[key])}, published {'all' if RECIPE[key] is None else RECIPE[key]}" for key in other),
    ]


def beside(table: Table, runs: pd.DataFrame) -> list[Beside]:
    """The entries of a table, of these runs, that something was published for, in the table's order."""
    known = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False, dtype={"seed": "str"})
    again = [known[known["strategy"] == name].assign(strategy=own, note=NOT_KNOWN) for own, name in PUBLISHED_AS.items()]
    known = pd.concat([known, *again])
    groups = {(str(strategy), str(model)): rows for (strategy, model), rows in known.groupby(["strategy", "model"])}
    asked = _parameters(runs)
    return [
        _beside(strategy, architecture, entry, groups[strategy, architecture], asked.get((strategy, architecture), ""))
        for strategy, entries in table.rows.items()
        for architecture, entry in zip(table.columns, entries, strict=True)
        if (strategy, architecture) in groups and entry.n
    ]


def sheet(found: list[Beside]) -> Sheet:
    """Ours and theirs, and their difference with its interval."""
    rows = [(f"{one.strategy}, {one.architecture}", _words(one)) for one in found]
    notes = {f"{one.strategy} ({one.name}): {one.note}." for one in found if one.note}
    return Sheet(
        "Beside the published best fine test accuracies (%)",
        "strategy, architecture",
        ["ours", "published", "difference (95 % interval)"],
        rows,
        [
            "Published: MLS-Bench (arXiv:2605.08678), fine_only of chenyaofo/pytorch-cifar-models. The interval is of the difference of "
            "two means with unequal variances (Welch); there is none where either side is one seed or shows no spread. One that contains 0 "
            "does not say that the two are equal.",
            *sorted(notes),
        ],
    )


def _parameters(runs: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What a file says of strategy and architecture, by the labels of both, where no command of ours vouches for their names."""
    strategies, architectures = labels(runs, "loss"), labels(runs, "model")
    keys = [str(key) for key in runs if str(key).startswith(OF_GROUPS) and not str(key).endswith("._target_")]
    return {
        (strategies[run["loss_key"]], architectures[run["model_key"]]): ", ".join(
            f"{key}={text(run[key])}" for key in keys if pd.notna(run[key])
        )
        for run in runs[runs["command"].isna()].to_dict("records")
    }


def _beside(strategy: str, architecture: str, entry: Entry, runs: pd.DataFrame, asked: str) -> Beside:
    ours, theirs = list(entry.seeds.values()), runs["best_fine_acc"].tolist()
    doubt = f"whether theirs has {asked} too is not known" if asked else ""
    note = "; ".join(part for part in (str(runs["note"].iloc[0]), doubt) if part)
    name = str(runs["name"].iloc[0])
    return Beside(strategy, architecture, entry, estimate(ours), estimate(theirs), welch(ours, theirs), name, note)


def _words(one: Beside) -> list[str]:
    behind = interval(*one.interval) if one.interval else ""
    asked = one.entry.n + sum(one.entry.absent.values())
    short = f" of {asked}" if asked > one.entry.n else ""
    return [_spell(one.ours) + short, _spell(one.theirs), f"{one.ours.mean - one.theirs.mean:+.2f}{behind}"]


def _spell(found: Estimate) -> str:
    return f"{found.mean:.2f}{'' if found.sd is None else f' ± {found.sd:.2f}'} n={found.n}"
