"""Two studies, or one at two commits, cell by cell: what changed, by how much, and whether that is more than luck."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import terminal
from analysis.commits import runs_of
from analysis.names import text
from analysis.notes import made_by
from analysis.render import mean_and_seeds, missing, sheet_latex, sheet_markdown
from analysis.row import GROUPS, Group
from analysis.sheet import Sheet, spell
from analysis.statistics import Estimate, estimate
from analysis.table import Entry, differing, distinct, entries, labels, titles
from mtlsweep.errors import UserError


@dataclass(frozen=True)
class Pair:
    """One architecture under one strategy in both studies.

    Attributes:
        strategy, architecture: labels.
        a, b: the two entries.
        difference: of the best accuracies, b - a, over the seeds that both have completed; None where there is none.
        equal: number of these seeds whose best and last accuracies are the same to the last digit.
    """

    strategy: str
    architecture: str
    a: Entry
    b: Entry
    difference: Estimate | None
    equal: int


def report_pair(a: str, b: str, output: str = "text") -> None:
    """Print two studies beside each other; each is named as on the command line, `STUDY` or `STUDY@COMMIT`.

    Raises:
        UserError: a study or a commit is not there, or the two have nothing in common.
    """
    first, second = runs_of(a), runs_of(b)
    found = pairs(first, second)
    sheets = [sheet(title, cells, (a, b)) for title, cells in found.items()]
    notes = [f"A: {made_by(first)}.", f"B: {made_by(second)}.", *renamed(first, second), *unshared(first, second)]
    if output == "text":
        terminal.show_sheets(sheets, notes)
    elif output == "csv":
        print(csv(found))
        print(*notes, sep="\n", file=sys.stderr)
    else:
        print(*map(sheet_markdown if output == "markdown" else sheet_latex, sheets), sep="\n\n")
        print("", *[f"- {note}" if output == "markdown" else f"% {note}" for note in notes], sep="\n")


def pairs(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, list[Pair]]:
    """The cells of two frames (see `collect`) that either has, by setting; the key says what setting that is.

    Cells are the same if they differ in nothing but code and machine; where the frames share none, if they have the same names (see
    `renamed`). Where the frames share no setting but each has only one, cells of the same model, strategy and seed are compared across the
    two, and the key says in what settings they differ.

    Raises:
        UserError: the frames share no setting, and one of them has several.
    """
    first, second = distinct(a), distinct(b)
    if not _cells(first) & _cells(second):
        first, second = _by_name(first), _by_name(second)
    shared = set(first["setting"]) & set(second["setting"])
    if not shared:
        return {_across(first, second): _pairs(first, second)}
    names = titles(pd.concat([first, second], ignore_index=True))
    return {names[key]: _pairs(first[first["setting"] == key], second[second["setting"] == key]) for key in sorted(shared)}


def _cells(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(frame["model_key"], frame["loss_key"], strict=True))


def _by_name(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with strategies and architectures known by their names, as a file of other people's has them, where each has its own."""
    for group in GROUPS.values():
        if _one_each(frame, group):
            frame = frame.assign(**{group.key: frame[group.label]})
    return frame


def _one_each(frame: pd.DataFrame, group: Group) -> bool:
    """Whether no two strategies, or architectures, have one name."""
    return bool(frame.groupby(group.label)[group.key].nunique().max() == 1)


def renamed(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """A line for each strategy and architecture that is known by its name alone (see `pairs`) and has other settings in either frame."""
    if _cells(a) & _cells(b):
        return []
    lines = []
    for group in [group for group in GROUPS.values() if _one_each(a, group) and _one_each(b, group)]:
        settings = [key for key in a.columns if key in b.columns and key.startswith(group.settings)]
        first, second = (side.drop_duplicates(group.label).set_index(group.label)[settings].map(text) for side in (a, b))
        for label in [label for label in first.index if label in second.index]:
            both = zip(settings, first.loc[label], second.loc[label], strict=True)
            told = [f"{key} ({one} in A, {other} in B)" for key, one, other in both if one != other]
            lines += [f"{label} is the same by its name only; it differs in {', '.join(told)}."] if told else []
    return lines


def unshared(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """A line for each setting that only one of two frames has, where they share any."""
    both = {"A": set(a["setting"]), "B": set(b["setting"])}
    names = titles(pd.concat([a, b], ignore_index=True))
    shared = both["A"] & both["B"]
    return [f"Only {side} has runs of: {names[key]}." for side, keys in both.items() for key in sorted(keys - shared) if shared]


def sheet(title: str, found: list[Pair], names: tuple[str, str]) -> Sheet:
    """One setting's cells as words."""
    rows = [(_name(pair), [mean_and_seeds(pair.a), mean_and_seeds(pair.b), spell(pair.difference), _equal(pair)]) for pair in found]
    both = sum(pair.difference is not None for pair in found)
    return Sheet(
        f"Best fine test accuracy (%), A: {names[0]}, B: {names[1]}; {title}",
        "strategy, architecture",
        ["A", "B", "B - A (95 % interval)", "equal"],
        rows,
        [
            f"{both} of {len(found)} entries have a seed that both completed. {_clear(found)}equal: pairs of seeds whose best and last "
            "accuracies are the same to the last digit."
        ],
    )


def _clear(found: list[Pair]) -> str:
    """How many intervals do not contain 0; nothing where there are none."""
    known = [(one.low, one.high) for pair in found if (one := pair.difference) and one.low is not None and one.high is not None]
    if not known:
        return ""
    clear = sum(low > 0 or high < 0 for low, high in known)
    return f"Intervals that do not contain 0: {clear} of {len(known)} ({0.05 * len(known):.1f} are to be expected by chance alone). "


def csv(found: Mapping[str, list[Pair]]) -> str:
    """One line for each cell, numbers in full."""
    lines = [
        {"setting": title, "strategy": pair.strategy, "architecture": pair.architecture}
        | {f"{side}_{name}": value for side, entry in (("a", pair.a), ("b", pair.b)) for name, value in _numbers(entry).items()}
        | {f"difference{part and '_' + part}": getattr(pair.difference, part or "mean", None) for part in ("", "low", "high", "p", "n")}
        | {"equal": pair.equal}
        for title, of_title in found.items()
        for pair in of_title
    ]
    return pd.DataFrame(lines).to_csv(index=False, float_format="%.7g", lineterminator="\n").rstrip("\n")


def _pairs(a: pd.DataFrame, b: pd.DataFrame) -> list[Pair]:
    both = pd.concat([a, b], ignore_index=True)
    strategies, architectures = labels(both, "loss"), labels(both, "model")
    first, second, met = entries(a), entries(b), _met(a, b)
    cells = [(loss, model) for loss in strategies for model in architectures if (loss, model) in first.keys() | second.keys()]
    return [
        Pair(strategies[cell[0]], architectures[cell[1]], first.get(cell, Entry()), second.get(cell, Entry()), *_difference(met, *cell))
        for cell in cells
    ]


def _met(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The completed runs that both have, side by side."""
    keys, values = ["loss_key", "model_key", "seed"], ["best_fine_acc", "last_fine_acc"]
    sides = [side.loc[side["status"] == "completed", [*keys, *values]] for side in (a, b)]
    return sides[0].merge(sides[1], on=keys, suffixes=("_a", "_b"))


def _difference(met: pd.DataFrame, loss: str, model: str) -> tuple[Estimate | None, int]:
    here = met[(met["loss_key"] == loss) & (met["model_key"] == model)]
    if here.empty:
        return None, 0
    first, second = (here[[f"{name}_{side}" for name in ("best_fine_acc", "last_fine_acc")]].fillna(-1).to_numpy() for side in "ab")
    equal = (first == second).all(axis=1)  # a file may know no last accuracies
    return estimate((here["best_fine_acc_b"] - here["best_fine_acc_a"]).tolist()), int(equal.sum())


def _across(a: pd.DataFrame, b: pd.DataFrame) -> str:
    both = pd.concat([a, b], ignore_index=True)
    words = f"they differ in {', '.join(differing(both)) or 'what these files do not hold'}"
    if a["setting"].nunique() > 1 or b["setting"].nunique() > 1:
        raise UserError(f"the two share no setting, and one of them has several; {words}")
    return words


def _name(pair: Pair) -> str:
    return f"{pair.strategy}, {pair.architecture}"


def _numbers(entry: Entry) -> dict[str, object]:
    best = entry.values.get("best")
    return {"n": entry.n, "mean": best and best.mean, "sd": best and best.sd, "absent": "" if entry.complete else missing(entry)}


def _equal(pair: Pair) -> str:
    return f"{pair.equal} of {pair.difference.n}" if pair.difference else ""
