"""The cells of a CSV file as names, numbers and blanks, whoever wrote it: one that is not what its column holds is named by its row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.row import COLUMNS
from mtlsweep.errors import UserError

# What somebody gave a name to may be called so; elsewhere these words stand for what is not there.
_NAMES = ("study", "model", "loss", "variant", "model_variant", "curriculum", "schedule", "data", "engine")
_BLANK = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none")

_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_KINDS = {"float64": "number", "Int64": "whole number", "boolean": "truth value"}


def read_cells(path: Path) -> pd.DataFrame:
    """The rows of a CSV file that are not empty, with the types of `row.COLUMNS`; other columns hold numbers where all of their cells are.

    Blanks around a cell or a column's name are no part of it: `resnet20 ` is no other architecture than `resnet20`.
    Cells are separated by semicolons if the header is, and then a decimal comma is one too, as Excel writes in much of Europe.

    Raises:
        UserError: it cannot be read, two columns have one name, or a cell is not of its column's type.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        comma = header.count(";") > header.count(",")
        text = pd.read_csv(path, dtype="str", keep_default_na=False, sep=";" if comma else ",").fillna("")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(text.index, pd.RangeIndex):
        raise UserError(f"{path}: cannot be read (a row has more cells than the header)")
    text = text.apply(lambda cells: cells.str.strip()).rename(columns=lambda name: name.strip() or name)
    if text.columns.has_duplicates:
        raise UserError(f"{path}: two columns are named {text.columns[text.columns.duplicated()][0]}")
    text = text[(text != "").any(axis=1)]
    return pd.DataFrame({name: _column(path, str(name), text[name], comma) for name in text}, index=text.index)


def refuse(path: Path, wrong: pd.Series, complaint: Callable[[Any], str]) -> None:
    """Raise UserError of the first row that is wrong, by its place in the frame, counted as a spreadsheet does: the header is row 1."""
    if wrong.any():
        row: Any = wrong.idxmax()
        raise UserError(f"{path}: row {row + 2}: {complaint(row)}")


def _column(path: Path, name: str, cells: pd.Series, comma: bool) -> pd.Series:
    kind = COLUMNS.get(name)
    if name in _NAMES:
        return cells.mask(cells == "")
    given = cells.mask(cells.str.lower().isin(_BLANK))
    if kind == "str":
        return given
    values = given.str.lower().map(_TRUTH) if kind == "boolean" else _numbers(given, comma)
    wrong = given.notna() & values.isna()
    if kind is None:
        return given if wrong.any() else values
    if kind == "Int64":
        wrong |= values.notna() & ~((values % 1 == 0) & (values.abs() < 2.0**63))
    refuse(path, wrong, lambda row: f"{name} is {cells[row]!r}, not a {_KINDS[kind]}")
    return values.astype(kind)  # type: ignore[call-overload]


def _numbers(given: pd.Series, comma: bool) -> pd.Series:
    return pd.to_numeric(given.str.replace(",", ".") if comma else given, errors="coerce")
