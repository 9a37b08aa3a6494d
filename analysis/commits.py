"""The runs of a study, or those of its runs that were made by one commit, results that were put aside since among them."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.collect import collect, frame_of
from analysis.find import find_study
from analysis.results import read_results
from analysis.row import row as row_of
from mtlsweep.errors import UserError
from mtlsweep.runs import Record, RunDirectory, State


def runs_of(name: str) -> pd.DataFrame:
    """The runs that are named on the command line as `STUDY` or `STUDY@COMMIT`.

    Raises:
        UserError: there are none, or no commit or several are meant.
    """
    study, at, commit = name.rpartition("@")
    if at and not Path(name).exists():
        return _runs_at(find_study(study), commit)
    path = find_study(name)
    frame = read_results(path) if path.is_file() else collect([path])
    if frame.empty:
        raise UserError(f"{name}: no runs")
    return frame


def _runs_at(study: Path, commit: str) -> pd.DataFrame:
    """The finished runs of a study whose code was at a commit, earlier results of runs that were done again among them.

    Args:
        study: its folder, or a results CSV, which has no earlier results.
        commit: the first digits of its hash.

    Raises:
        UserError: there are none, or runs of several commits of these first digits.
    """
    frame = read_results(study) if study.is_file() else _with_earlier(study)
    known = sorted(frame["commit"].dropna().unique())
    meant = [found for found in known if found.startswith(commit)]
    if not commit or not meant:
        there = ", ".join(sorted({found[:7] for found in known})) or "none"
        said = f"no finished run of commit {commit}" if commit else "no commit after the @"
        raise UserError(f"{study}: {said}; there are runs of: {there}")
    if len(meant) > 1:
        raise UserError(f"{study}: several commits begin with {commit}: {', '.join(meant)}")
    return frame[frame["commit"] == meant[0]]


def _with_earlier(study: Path) -> pd.DataFrame:
    rows = [row | {"study": study.resolve().name} for path in study.glob("*/*/*/*/previous/*") if (row := _earlier(study, path))]
    return pd.concat([collect([study]), *([frame_of(rows)] if rows else [])], ignore_index=True)


def _earlier(study: Path, path: Path) -> dict[str, Any] | None:
    """The row of a result that was put aside; None where it cannot be read."""
    try:
        result = RunDirectory(path).result()
        directory = RunDirectory(path.parents[1])
        return row_of(study, Record(directory.path, directory.describe(), State(result["status"]), result)) if result else None
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
