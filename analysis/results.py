"""Reads a results CSV: ours from another machine, or anybody's with at least a model, a strategy, a seed and an accuracy."""

import hashlib
from pathlib import Path

import pandas as pd

from analysis.row import COLUMNS
from mtlsweep.errors import UserError

REQUIRED = ("model", "loss", "seed", "best_fine_acc")

# What a column is where a file does not have it.
_LIKE = {"variant": "loss", "model_variant": "model"}
# What tells strategies and architectures apart, with those of the settings that are theirs.
_KEYS = {"loss_key": ("variant", ("loss.", "curriculum.")), "model_key": ("model_variant", ("model.",))}
_CONSTANT = {"status": "completed", "schedule": "unknown schedule", "data": "unknown data"}


def read_results(path: Path) -> pd.DataFrame:
    """The runs of a results CSV as `collect` gives them. Accuracies are percent; rows without a status are completed runs.

    Columns that are not in `row.COLUMNS` and have a dot in their name are settings (`schedule.epochs`); others are passed over.

    Raises:
        UserError: it cannot be read, lacks a column, has accuracies that are no percentages, or two rows for one run.
    """
    try:
        # Of text it is said that it is text: a hash may look like a number.
        frame = pd.read_csv(path, dtype=COLUMNS)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}")
    _check_numbers(path, frame)
    return _check_unique(path, _completed(path, frame))


def _completed(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with all of `COLUMNS` and the settings."""
    settings = [name for name in frame.columns if name not in COLUMNS and "." in name]
    known = frame.assign(study=frame.get("study", path.stem))
    for name, other in _LIKE.items():
        known[name] = known.get(name, known[other])
    for name, value in _CONSTANT.items():
        known[name] = known[name].fillna(value) if name in known else value
    shared = settings
    for name, (label, prefixes) in _KEYS.items():
        if name not in known:
            known[name] = _joined(known, [label, *(key for key in settings if key.startswith(prefixes))])
        shared = [key for key in shared if not key.startswith(prefixes)]
    if "setting" not in known:
        known["setting"] = _joined(known, ["data", "schedule", *shared]).map(_digest)
    if "signature" not in known:
        known["signature"] = _joined(known, ["setting", "model_key", "loss_key", "seed"]).map(_digest)
        known["path"] = known["model_variant"] + "/" + known["variant"] + "/seed" + known["seed"].astype("str")
    known = known.reindex(columns=[*COLUMNS, *settings])
    return known.astype(dict(COLUMNS.items()))


def _joined(frame: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The values of these columns as one text a row; a cell that is empty is one."""
    return frame[columns].map(lambda value: "" if pd.isna(value) else str(value)).agg("|".join, axis=1)


def _check_numbers(path: Path, frame: pd.DataFrame) -> None:
    if frame.empty:
        raise UserError(f"{path}: no runs")
    done = frame[frame["status"] == "completed"] if "status" in frame else frame
    if frame["seed"].isna().any() or done["best_fine_acc"].isna().any():
        raise UserError(f"{path}: a run has no seed, or a completed one no best_fine_acc")
    low, high = done["best_fine_acc"].min(), done["best_fine_acc"].max()
    if high <= 1 or high > 100 or low < 0:
        raise UserError(f"{path}: best_fine_acc is from {low:g} to {high:g}, it must be percent")


def _check_unique(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if no two completed runs are told apart by nothing."""
    done = frame[frame["status"] == "completed"]
    twice = done[done.duplicated(["setting", "model_key", "loss_key", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(f"{path}: two rows for {row['model_variant']} {row['variant']} seed {row['seed']} under one setting")
    return frame


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
