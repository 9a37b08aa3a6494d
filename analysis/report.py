"""Collects studies, writes their `results.csv` and prints their tables: the short one after a sweep, the whole one on request."""

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis import published, render, terminal
from analysis.baseline import BASELINE, RESOLVE, Comparison, compare
from analysis.collect import collect, write_csv
from analysis.measures import MEANINGS
from analysis.notes import apart, remarks
from analysis.results import merged, read_results
from analysis.sheet import Sheet, sheets
from analysis.table import Table, distinct, measured, tables
from mtlsweep.errors import UserError

# Where a study's runs are listed, one row each.
RESULTS = "results.csv"


@dataclass(frozen=True)
class Choice:
    """What a table compares.

    Attributes:
        baseline: label of the strategy that the others are compared with; None: fine_only, where it is there.
        family: labels of the strategies that p values are corrected for; None: all.
        resolve: the difference that matters, percentage points.
        published: set ours beside the published accuracies.
        measure: of `measures.MEASURES`, that is compared.
    """

    baseline: str | None = None
    family: Collection[str] | None = None
    resolve: float = RESOLVE
    published: bool = False
    measure: str = "best"


class Analysis(NamedTuple):
    """What a frame's runs say: the tables, and by setting the comparison of each and the sheets to show below it."""

    tables: list[Table]
    compared: dict[str, Comparison]
    below: dict[str, list[Sheet]]


def report(study: Path, only: Collection[Path] | None = None) -> None:
    """Write a study's `results.csv` and print its accuracies, without comparisons, then the path of the former.

    Args:
        study: the study's folder.
        only: directories of the runs that the table is of; None: all of the study's. `results.csv` always has all.

    Raises:
        UserError: the folder holds no runs and no sweep that asked for any.
    """
    frame = gather([study])
    if only is not None:
        root = study.resolve()
        shown = {Path(os.path.relpath(Path(path).resolve(), root)).as_posix() for path in only}
        frame = frame[frame["path"].isin(shown)]
    if not frame.empty:
        found = tables(frame)
        _print(found, frame, "text")
    say_where([study])


def report_studies(studies: Sequence[Path], output: str = "text", choice: Choice = Choice()) -> None:
    """Write the `results.csv` of each study, and print tables of the runs of all of them together, with their comparisons.

    Raises:
        UserError: as for `report`; no table has the baseline or a strategy that were named; nothing is comparable with what is published.
    """
    frame, lacking = measured(gather(studies), choice.measure)
    for name in lacking:
        print(f"analysis: left out, some of its runs have no {MEANINGS[choice.measure]}: {name}", file=sys.stderr)
    found, compared, below = analyse(frame, choice)
    _print(found, frame, output, below, compared)
    say_where(studies, output)


def analyse(frame: pd.DataFrame, choice: Choice) -> Analysis:
    """The tables of a frame, with their comparisons.

    Raises:
        UserError: as for `report_studies`.
    """
    if choice.published and choice.measure != "best":
        raise UserError("what is published is the best accuracy: it cannot stand beside another measure")
    found = tables(frame, choice.measure)
    check_known([*([choice.baseline] if choice.baseline else []), *(choice.family or [])], found)
    compared = {table.setting: compare(table, choice.baseline or BASELINE, choice.family, choice.resolve) for table in found}
    below = {setting: sheets(comparison) for setting, comparison in compared.items()}
    if choice.published:
        for setting, sheet in _published(frame, found).items():
            below[setting].append(sheet)
    return Analysis([comparison.table for comparison in compared.values()], compared, below)


def gather(studies: Sequence[Path]) -> pd.DataFrame:
    """The runs of some studies or results CSVs; the `results.csv` of each study is written.

    Raises:
        UserError: a folder holds no runs and no sweep that asked for any, a CSV is not to be read, or two of them have different results of
            a run.
    """
    return merged([(study, read_results(study) if study.is_file() else _gather(study)) for study in studies])


def _gather(study: Path) -> pd.DataFrame:
    frame = collect([study])
    if frame.empty:
        raise UserError(f"{study}: no runs")
    try:
        write_csv(frame, study / RESULTS)
    except OSError as error:  # a colleague's study may be read and not written
        print(f"analysis: {study / RESULTS}: cannot be written ({error.strerror})", file=sys.stderr)
    return frame


def check_known(names: Sequence[str], found: Sequence[Table]) -> None:
    """Raise UserError where a strategy is in none of the tables."""
    known = {name: None for table in found for name in table.rows}  # ordered
    for name in names:
        if name not in known:
            raise UserError(f"{name}: no such strategy among the runs; there are: {', '.join(known)}")


def _published(frame: pd.DataFrame, found: Sequence[Table]) -> dict[str, Sheet]:
    runs = dict(iter(distinct(frame).groupby("setting")))
    departures = {table.setting: published.departures(runs[table.setting]) for table in found}
    reasons = [f"{table.title}: {'; '.join(departures[table.setting])}" for table in found if departures[table.setting]]
    if len(reasons) == len(found):
        raise UserError(f"none of the runs are under the recipe of what is published ({reasons[0]})")
    for reason in reasons:
        print(f"analysis: not beside what is published: {reason}", file=sys.stderr)
    known = {table.setting: published.beside(table, runs[table.setting]) for table in found if not departures[table.setting]}
    for table in found:
        if known.get(table.setting) == []:
            print(f"analysis: nothing was published for any entry of {table.title}", file=sys.stderr)
    return {setting: published.sheet(beside) for setting, beside in known.items() if beside}


def _print(
    found: list[Table], frame: pd.DataFrame, output: str, below: render.Sheets | None = None, compared: dict[str, Comparison] | None = None
) -> None:
    first, after = apart(distinct(frame)), remarks(frame, found)
    if output == "text":
        terminal.show(found, first, after, below or {})
    elif output == "csv":
        print(render.csv(found, compared or {}))
        print(*first, *after, sep="\n", file=sys.stderr)
    elif output == "markdown":
        print(*first, render.markdown(found, after, below or {}), sep="\n\n", end="\n\n")
    else:
        print(render.latex(found, [*first, *after], below or {}), end="\n\n")


def say_where(studies: Sequence[Path], output: str = "text") -> None:
    """Name the `results.csv` of each study that has one."""
    # CSV and LaTeX go into files by redirection; what is not part of them is for the reader of the terminal.
    aside = sys.stderr if output in ("csv", "latex") else sys.stdout
    for study in studies:
        if (study / RESULTS).is_file():
            print(f"results: {study / RESULTS}", file=aside)
