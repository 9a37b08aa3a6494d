"""The table: architecture by strategy, each entry a summary over seeds. Runs that differ in anything but the seed are never averaged."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from analysis.measures import MEANINGS, MEASURES
from analysis.names import Settings, natural, text, unique
from analysis.row import COLUMNS, GROUPS, OF_GROUPS
from mtlsweep.errors import UserError
from mtlsweep.protocol.rules import SETTING
from mtlsweep.runs.signature import dotted

# Architectures and strategies that come first, in this order; the others follow by name.
_FIRST_MODELS = ("resnet20", "resnet56", "vgg16bn")
_FIRST_LOSSES = ("fine_only", "equal")

# States without an accuracy that counts, in the order they are named; completed is the only other one.
_ABSENT = ("failed", "diverged", "interrupted", "running", "pending")

# The recipe under which accuracies were published, by dotted key: the benchmark's; where all images are taken, data.seed chooses nothing.
RECIPE = {key: value for key, value in dotted({group: SETTING[group] for group in ("data", "schedule")}).items() if key != "data.seed"}

# What of a run's engine does not tell it from others': graphs and which of several like devices it was, which change no number, and how
# many threads, of which every machine has its own number.
_PASSED_OVER = ("device=", "threads=", "graph=")


@dataclass(frozen=True)
class Summary:
    """Mean over seeds, and the sample standard deviation (percentage points; None of a single seed)."""

    mean: float
    sd: float | None


class Made(NamedTuple):
    """What a run was made with that is no part of its settings and can change its numbers; "unknown" where nothing says it."""

    device: str
    torch: str
    engine: frozenset[str]


@dataclass(frozen=True)
class Entry:
    """One architecture under one strategy.

    Attributes:
        n: number of completed runs; they are what is summarised.
        absent: the runs that are not completed, by state.
        values: a summary for each measure that the runs have.
        seeds: the accuracy that is compared (`Table.measure`) of each completed run that has it, by its seed.
        made: with what each completed run was made, by its seed.
        hours: device-hours of a completed run, mean over seeds.
        best: whether the mean of that accuracy is the highest in its column, of the complete entries with the most seeds.
        tied: whether a test that could have told it from the best of its column did not (see `baseline.underline`).
    """

    n: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    values: dict[str, Summary] = field(default_factory=dict)
    seeds: dict[int, float] = field(default_factory=dict)
    made: dict[int, Made] = field(default_factory=dict)
    hours: float | None = None
    best: bool = False
    tied: bool = False

    @property
    def complete(self) -> bool:
        """Whether every run that was asked for has completed."""
        return self.n > 0 and not self.absent


@dataclass(frozen=True)
class Table:
    """The runs of one setting.

    Attributes:
        title: data and schedule, and what tells this setting from others of the same names.
        setting: the setting's hash, as in the frame.
        measures: names of the measures that any run has; the first one is compared.
        columns: architectures.
        rows: by strategy, the entries of the columns in their order.
    """

    title: str
    setting: str
    measures: list[str]
    columns: list[str]
    rows: dict[str, list[Entry]]

    @property
    def measure(self) -> str:
        """The one that entries are marked, ranked and tested by."""
        return self.measures[0]


def tables(frame: pd.DataFrame, measure: str = "best") -> list[Table]:
    """One table for each setting (schedule, data and engine as requested) among the runs of a frame, see `collect`.

    Args:
        frame: of runs.
        measure: of `MEASURES`, that is to be compared; every completed run must have it (see `measured`).
    """
    runs = distinct(frame)
    names = titles(runs)
    parts = {str(setting): part for setting, part in runs.groupby("setting", sort=False)}
    return [_table(names[setting], setting, parts[setting], measure) for setting in sorted(names, key=lambda key: natural(names[key]))]


def measured(frame: pd.DataFrame, measure: str) -> tuple[pd.DataFrame, list[str]]:
    """The frame without the settings in which a completed run does not have a measure, and their titles.

    Raises:
        UserError: that is all of them.
    """
    runs = distinct(frame)
    lacking = set(runs.loc[(runs["status"] == "completed") & runs[MEASURES[measure]].isna(), "setting"])
    if not lacking:
        return frame, []
    known = frame[~frame["setting"].isin(lacking)]
    if known.empty:
        raise UserError(f"the runs, or some of them, have no {MEANINGS[measure]}")
    return known, [name for setting, name in titles(runs).items() if setting in lacking]


def distinct(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without runs found more than once (one signature in several studies or directories), a completed one preferred."""
    runs = frame.reset_index(drop=True)
    order = (runs["status"] != "completed").sort_values(kind="stable").index
    return runs.loc[order].drop_duplicates("signature").sort_index()


def ended(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that have a result."""
    return runs[runs["status"].isin(["completed", "diverged"])]


def _table(title: str, setting: str, runs: pd.DataFrame, measure: str) -> Table:
    columns, rows = labels(runs, "model"), labels(runs, "loss")
    found = _mark(entries(runs, measure), measure)
    others = [name for name, column in MEASURES.items() if name != measure and (name != "selected" or runs[column].notna().any())]
    grid = {label: [found.get((row, column), Entry()) for column in columns] for row, label in rows.items()}
    return Table(title, setting, [measure, *others], list(columns.values()), grid)


def entries(runs: pd.DataFrame, measure: str = "best") -> dict[tuple[str, str], Entry]:
    """The entries of one setting's runs by loss and model key; this measure is compared."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for loss, model, status in zip(runs["loss_key"], runs["model_key"], runs["status"], strict=True):
        counts.setdefault((loss, model), Counter())[status] += 1
    done = runs[runs["status"] == "completed"]
    seeds = _by_seed(done, done[MEASURES[measure]].astype(float))
    made = _by_seed(done, _made(done))
    groups = done.groupby(["loss_key", "model_key"])[[*MEASURES.values(), "device_hours"]]
    means, deviations = groups.mean().to_dict("index"), groups.std().to_dict("index")
    return {
        key: Entry(
            n=count["completed"],
            absent={state: count[state] for state in _ABSENT if count[state]},
            values=_summaries(means[key], deviations[key]) if count["completed"] else {},
            seeds=seeds.get(key, {}),
            made=made.get(key, {}),
            hours=means[key]["device_hours"] if count["completed"] and not pd.isna(means[key]["device_hours"]) else None,
        )
        for key, count in counts.items()
    }


def _by_seed(runs: pd.DataFrame, values: Iterable[Any]) -> dict[tuple[str, str], dict[int, Any]]:
    """A value of each run by its loss and model key, and by its seed."""
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for loss, model, seed, value in zip(runs["loss_key"], runs["model_key"], runs["seed"], values, strict=True):
        found.setdefault((loss, model), {})[int(seed)] = value
    return found


def _summaries(means: dict[Any, float], deviations: dict[Any, float]) -> dict[str, Summary]:
    found = {name: column for name, column in MEASURES.items() if not pd.isna(means[column])}
    return {name: Summary(means[column], None if pd.isna(deviations[column]) else deviations[column]) for name, column in found.items()}


def _mark(entries: dict[tuple[str, str], Entry], measure: str) -> dict[tuple[str, str], Entry]:
    marked = dict(entries)
    for model in {model for _, model in entries}:
        complete = {key: entry for key, entry in entries.items() if key[1] == model and entry.complete}
        # The mean of fewer seeds is the surer to be extreme: it does not compete with that of more.
        most = max((entry.n for entry in complete.values()), default=0)
        # Rounded, so that equal accuracies in another order tie.
        means = {key: round(entry.values[measure].mean, 6) for key, entry in complete.items() if entry.n == most}
        if len(means) > 1:  # the best of one is no finding
            marked |= {key: replace(entries[key], best=True) for key, mean in means.items() if mean == max(means.values())}
    return marked


def labels(runs: pd.DataFrame, group: str) -> dict[str, str]:
    """Unique labels of the strategies ("loss") or architectures ("model") of one setting's runs by their keys, in the table's order."""
    key, name, prefixes = GROUPS[group]
    first = {"loss": _FIRST_LOSSES, "model": _FIRST_MODELS}[group]
    ones = runs.drop_duplicates(key).set_index(key)
    settings = [column for column in ones.columns if column.startswith(prefixes)]
    found = unique(_words(ones[name]), _rows(ones[settings]))
    options = _words(ones[group])

    def order(key: str) -> tuple[int, Any]:
        return first.index(options[key]) if options[key] in first else len(first), natural(found[key])

    return {key: found[key] for key in sorted(found, key=order)}


def titles(runs: pd.DataFrame) -> dict[str, str]:
    """Unique names of the settings of some runs: data and schedule, and what tells a setting from others of the same names."""
    ones = runs.drop_duplicates("setting").set_index("setting")
    return unique(_words(ones["data"] + ", " + ones["schedule"]), _rows(ones[_settings(ones)]), _in_title)


def _in_title(settings: Settings) -> list[str]:
    """Settings that a title names even where nothing differs: how long was trained, and what is not the benchmark's recipe, for an option's
    name does not say that it was changed. (Data have their name already.)"""
    known = {key: text(settings.get(key)) for key in ("schedule.epochs", *RECIPE) if key != "data.name"}
    return [key for key, value in known.items() if value != "null" and (key == "schedule.epochs" or value != text(RECIPE[key]))]


def differing(runs: pd.DataFrame) -> list[str]:
    """What the settings of some runs differ in, with the values: `schedule.epochs (3, 200)`."""
    values = {key: sorted({text(value) for value in runs[key]}, key=natural) for key in _settings(runs)}
    return [f"{key} ({', '.join(found)})" for key, found in values.items() if len(found) > 1]


def _settings(runs: pd.DataFrame) -> list[str]:
    return [key for key in runs.columns if key not in COLUMNS and not key.startswith(OF_GROUPS)]


def _words(column: pd.Series) -> dict[str, str]:
    return {str(key): str(value) for key, value in column.items()}


def _rows(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(key): {str(name): value for name, value in row.items()} for key, row in frame.to_dict("index").items()}


def engine_words(engines: pd.Series) -> pd.Series:
    """Sets of what in `resolved_engine` can change numbers: `precision=bf16`, `compile=True`; empty where nothing says it.

    Of kernels of our own results tell only those that were used.
    """
    return engines.fillna("").map(lambda engine: frozenset(word for word in engine.split(", ") if not word.startswith(_PASSED_OVER)))


def _made(done: pd.DataFrame) -> list[Made]:
    named = done[["device", "torch"]].fillna("unknown")
    return [Made(*made) for made in zip(named["device"], named["torch"], engine_words(done["resolved_engine"]), strict=True)]
