"""Reads a results CSV: ours from another machine, or anybody's with at least a model, a strategy, a seed and an accuracy."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cells import read_cells, refuse
from analysis.measures import MEASURES
from analysis.names import bracket
from analysis.row import COLUMNS, GROUPS, OF_GROUPS, digest
from analysis.table import ended
from mtlsweep.errors import UserError
from mtlsweep.runs import State

REQUIRED = ("model", "loss", "seed", "best_fine_acc")

_EPOCHS = "schedule.epochs"

# What a run is told from others by, whatever its signature.
_CELL = ["setting", "model_key", "loss_key", "seed"]

# Percentage points: files round, and accuracies over 10,000 images differ by 0.01 or not at all.
_ROUNDING = 1e-3


def read_results(path: Path) -> pd.DataFrame:
    """The runs of a results CSV as `collect` gives them. Accuracies are percent; rows without a status are completed runs.

    Columns that are not in `row.COLUMNS` and have a dot in their name are settings (`schedule.epochs`); others are passed over, and named
    on standard error where runs differ in them. Of `COLUMNS` a curriculum is part of the strategy, the epochs of a completed run are those
    of its schedule, and an engine, as in a study, keeps no runs apart and is noted. What a row lacks is made of what it has.

    Raises:
        UserError: it cannot be read, lacks a column, has a cell that makes no sense, accuracies that are no percentages, or two rows for
            one run.
    """
    frame = read_cells(path)
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}")
    if frame.empty:
        raise UserError(f"{path}: no runs")
    frame = frame.assign(status=_statuses(path, frame))
    _check(path, frame)
    _say_passed_over(path, frame)
    return _check_unique(path, _whole(path.stem, frame.reset_index(drop=True)))


def merged(inputs: Sequence[tuple[Path, pd.DataFrame]]) -> pd.DataFrame:
    """The runs of some studies and files. One that several of them have under different signatures, as where a file was written without
    them, gets that of the first, and so counts once (see `table.distinct`).

    Raises:
        UserError: such a run has different results.
    """
    runs = pd.concat([frame for _, frame in inputs], ignore_index=True)
    source = pd.Series([place for place, (_, frame) in enumerate(inputs) for _ in range(len(frame))], index=runs.index, dtype="int64")
    _check_agree([path for path, _ in inputs], runs.assign(source=source)[runs["status"] == State.completed.value])
    cells = runs.assign(source=source).groupby(_CELL)[["source", "signature"]].transform("first")
    return runs.assign(signature=runs["signature"].where(source == cells["source"], cells["signature"]))


def _statuses(path: Path, frame: pd.DataFrame) -> pd.Series:
    if "status" not in frame:
        return pd.Series(State.completed.value, index=frame.index)
    states = [state.value for state in State]
    found = frame["status"].str.lower().fillna(State.completed.value)
    refuse(path, ~found.isin(states), lambda row: f"status is {frame['status'][row]!r}, it must be one of {', '.join(states)}")
    return found


def _check(path: Path, frame: pd.DataFrame) -> None:
    lacking = frame[["model", "loss", "seed"]].isna()
    refuse(path, lacking.any(axis=1), lambda row: f"a run has no {lacking.loc[row].idxmax()}")
    done = frame[frame["status"] == State.completed.value]
    refuse(path, done["best_fine_acc"].isna(), lambda row: "a completed run has no best_fine_acc")
    low, high = done["best_fine_acc"].min(), done["best_fine_acc"].max()
    # A file of ours is percent, though no run in it may have learned more than chance gives.
    if (high <= 1 and "signature" not in frame) or high > 100 or low < 0:
        raise UserError(f"{path}: best_fine_acc is from {low:g} to {high:g}, it must be percent")


def _say_passed_over(path: Path, frame: pd.DataFrame) -> None:
    # A column without a head is the number of the row, as pandas writes it.
    others = [str(name) for name in frame if name not in COLUMNS and "." not in str(name) and not str(name).startswith("Unnamed: ")]
    differing = [name for name in others if frame[name].nunique(dropna=False) > 1]
    if differing:
        print(
            f"analysis: {path}: passed over, though runs differ in it: {', '.join(differing)} (a setting's name has a dot: schedule.lr)",
            file=sys.stderr,
        )


def _whole(study: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with all of `COLUMNS` and the settings; cell by cell, for rows may have been added to a file of ours by hand."""
    settings = [str(name) for name in frame if name not in COLUMNS and "." in str(name)]
    known = frame.reindex(columns=[*COLUMNS, *settings]).astype(dict(COLUMNS.items()))
    given = {"study": study, "data": "unknown data", "schedule": "unknown schedule", "model_variant": known["model"]}
    known = known.fillna(given | {"variant": known["loss"]})
    known["variant"] = [_with_curriculum(*both) for both in zip(known["variant"], known["curriculum"], strict=True)]
    known["resolved_engine"] = known["resolved_engine"].fillna(_engines(known))
    if _EPOCHS in known or known["epochs"].notna().any():
        known[_EPOCHS] = known[_EPOCHS].astype("object").fillna(_planned(known)) if _EPOCHS in known else _planned(known)
    return _with_keys(known)


def _with_curriculum(variant: str, curriculum: Any) -> str:
    """The label as `mtlsweep.runs.loss_label` gives it."""
    named = pd.isna(curriculum) or curriculum.strip().lower() == "none" or "curriculum=" in variant
    return variant if named else bracket(variant, [f"curriculum={curriculum}"])


def _engines(runs: pd.DataFrame) -> pd.Series:
    """The engine that was asked for, which is all that a file may know of what was used."""
    return "engine=" + ended(runs)["engine"]


def _planned(runs: pd.DataFrame) -> pd.Series:
    """The epochs of the schedule: all of them a completed run has done, and another would have, where those of its schedule agree."""
    done = runs["epochs"].astype("float64").where(runs["status"] == State.completed.value)
    schedules = done.groupby([runs["data"], runs["schedule"]])
    return done.fillna(schedules.transform("min").where(schedules.transform("nunique") == 1))


def _with_keys(known: pd.DataFrame) -> pd.DataFrame:
    settings = [str(name) for name in known if name not in COLUMNS]
    columns = {group.key: [group.label, *(key for key in settings if key.startswith(group.settings))] for group in GROUPS.values()}
    columns["setting"] = ["data", "schedule", *(key for key in settings if not key.startswith(OF_GROUPS))]
    known = known.assign(**{name: _filled(known[name], known[of]) for name, of in columns.items()})
    paths = known["model_variant"] + "/" + known["variant"] + "/seed" + known["seed"].astype("str")
    return known.assign(signature=_filled(known["signature"], known[[*columns, "seed"]]), path=known["path"].fillna(paths))


def _filled(given: pd.Series, of: pd.DataFrame) -> pd.Series:
    """Keys as given; a row without one has that of the rows that are equal in all that it is of, or else one that is made of it."""
    if given.notna().all():
        return given
    made = _hashes(of)
    both = pd.DataFrame({"given": given, "made": made}).dropna().drop_duplicates()
    theirs = both.drop_duplicates("made", keep=False).set_index("made")["given"]
    return given.fillna(made.map(theirs).astype("str")).fillna(made)


def _hashes(frame: pd.DataFrame) -> pd.Series:
    """A hash of each row's cells that are not blank, and of their columns' names."""
    return pd.Series(
        [digest({str(name): _text(value) for name, value in row.items() if not pd.isna(value)}) for row in frame.to_dict("records")]
    )


def _text(value: Any) -> str:
    """Equal for 8 and 8.0: a blank in another row makes a column of whole numbers one of fractions."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _check_unique(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if no two completed runs are told apart by nothing."""
    done = frame[frame["status"] == State.completed.value]
    twice = done[done.duplicated(_CELL)]
    if len(twice):
        raise UserError(f"{path}: two rows for {_named(twice.iloc[0])}")
    return frame


def _check_agree(paths: Sequence[Path], done: pd.DataFrame) -> None:
    """Raise UserError where inputs have different results of a run, and no signature says that it is the same run (that is a note)."""
    measures = list(MEASURES.values())
    first = done.groupby(_CELL)[["source", "signature", *measures]].transform("first")
    unlike = ((done[measures] - first[measures]).abs() > _ROUNDING).any(axis=1)
    wrong = done[unlike & (done["source"] != first["source"]) & (done["signature"] != first["signature"])]
    if len(wrong):
        both = f"{paths[first['source'][wrong.index[0]]]} and {paths[wrong['source'].iloc[0]]}"
        raise UserError(f"{both}: two results for {_named(wrong.iloc[0])}; `compare` sets them side by side")


def _named(row: pd.Series) -> str:
    return f"{row['model_variant']} {row['variant']} seed {row['seed']} under one setting"
