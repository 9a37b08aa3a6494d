"""What is published: the small files of runs, and the CSV, tables and report that are made of them and of nothing else."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import page, published, render
from analysis.archive import check, take
from analysis.collect import collect, write_csv
from analysis.notes import apart, remarks
from analysis.report import RESULTS, Analysis, Choice, analyse
from analysis.table import distinct
from mtlsweep.errors import UserError
from mtlsweep.runs import files, scan

RUNS = "runs"
TABLE = "table.md"
REPORT = "report.html"


def publish(folder: Path, studies: Sequence[Path]) -> None:
    """Take the finished runs of some studies into `folder`/runs, and make `results.csv`, `table.md` and `report.html` of all runs there.

    Raises:
        UserError: a run is not to be published (see `archive.faults`), or there is none; no file has been made then.
    """
    runs = folder / RUNS
    new = take(studies, runs)
    for study in studies:
        _say_what_is_left_out(study)
    check(runs)
    frame = collect([runs])
    if frame.empty:
        raise UserError(f"{runs}: no runs")
    write_csv(frame.assign(study=[_study(runs / path) for path in frame["path"]]), folder / RESULTS)
    analysis = analysed(frame)
    files.write_text(folder / TABLE, table(frame, analysis))
    page.write_page(frame, analysis, runs, folder / REPORT, name="published results")
    print(f"{len(new)} new runs, {len(frame)} in all: {folder / RESULTS}, {folder / TABLE}, {folder / REPORT}")


def analysed(frame: pd.DataFrame) -> Analysis:
    """What some runs say; beside what is published where any are under its recipe."""
    return analyse(frame, Choice(published=any(not published.departures(runs) for _, runs in distinct(frame).groupby("setting"))))


def table(frame: pd.DataFrame, analysis: Analysis) -> str:
    """The tables of some runs with their comparisons, as markdown."""
    found, _, below = analysis
    parts = [*apart(distinct(frame)), render.markdown(found, remarks(frame, found), below)]
    return "\n\n".join(parts) + "\n"


def _say_what_is_left_out(study: Path) -> None:
    """Whoever sees the published table does not see these."""
    left = [record.state.value for record in scan(study) if not record.result]
    if left:
        numbers = ", ".join(f"{number} {state}" for state, number in Counter(left).items())
        print(f"left out of {study}, having no result: {numbers} (python -m analysis {study} shows them)")


def _study(directory: Path) -> str:
    """That a run was of before it came here."""
    return str((files.read_json(directory / "run.json") or {})["study"])
