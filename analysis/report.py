"""Collects studies, writes their `results.csv` and prints their tables."""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from analysis import render, terminal
from analysis.collect import collect, write_csv
from analysis.notes import notes
from analysis.table import tables
from mtlsweep.errors import UserError


def report(study: Path, only: Collection[Path] | None = None, output: str = "text") -> None:
    """Write a study's `results.csv` and print its table, then the path of the former.

    Args:
        study: the study's folder.
        only: directories of the runs that the table is of; None: all of the study's. `results.csv` always has all.
        output: "text", "markdown", "csv" or "latex".

    Raises:
        UserError: the folder holds no runs and no sweep that asked for any.
    """
    frame = _collect(study)
    if only is not None:
        root = study.resolve()
        shown = {Path(os.path.relpath(Path(path).resolve(), root)).as_posix() for path in only}
        frame = frame[frame["path"].isin(shown)]
    _print(frame, [study], output)


def report_studies(studies: Sequence[Path], output: str = "text") -> None:
    """Write the `results.csv` of each study, and print tables of the runs of all of them together.

    Raises:
        UserError: as for `report`.
    """
    _print(pd.concat([_collect(study) for study in studies], ignore_index=True), studies, output)


def results(study: Path) -> Path:
    """Where a study's runs are listed, one row each."""
    return study / "results.csv"


def _collect(study: Path) -> pd.DataFrame:
    frame = collect([study])
    if frame.empty:
        raise UserError(f"{study}: no runs")
    try:
        write_csv(frame, results(study))
    except OSError as error:  # a colleague's study may be read and not written
        print(f"analysis: {results(study)}: cannot be written ({error.strerror})", file=sys.stderr)
    return frame


def _print(frame: pd.DataFrame, studies: Sequence[Path], output: str) -> None:
    # CSV and LaTeX go into files by redirection; what is not part of them is for the reader of the terminal.
    aside = sys.stderr if output in ("csv", "latex") else sys.stdout
    if not frame.empty:
        found = tables(frame)
        remarks = notes(frame, found)
        if output == "text":
            terminal.show(found, remarks)
        elif output == "csv":
            print(render.csv(found))
            print(*remarks, sep="\n", file=aside)
        else:
            print(render.markdown(found, remarks) if output == "markdown" else render.latex(found, remarks), end="\n\n")
    for study in studies:
        if results(study).is_file():
            print(f"results: {results(study)}", file=aside)
