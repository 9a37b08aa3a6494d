"""From run directories to one tidy frame, a row per run."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cache import Cache
from analysis.row import COLUMNS, row
from mtlsweep.runs import files
from mtlsweep.runs.records import scan


def collect(studies: Iterable[Path]) -> pd.DataFrame:
    """All runs of some studies and the cells their sweeps still lack, one row each, by study and path; pending cells last.

    Behind `COLUMNS` there is a column for each setting that decides a run's numbers, by its dotted key (`loss.beta`, `schedule.epochs`).
    A directory or file that cannot be read is named on standard error and left out.
    """
    names = {study: study.resolve().name for study in studies}
    return frame_of([found | {"study": name} for study, name in names.items() for found in _rows(study)])


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Replace the file at `path` by this frame as CSV, at once; floats keep seven digits.

    Raises:
        OSError: it cannot be written.
    """
    files.write_text(path, frame.to_csv(index=False, float_format="%.7g", lineterminator="\n"))


def _rows(study: Path) -> list[dict[str, Any]]:
    cache = Cache(study)
    rows = list(_read(study, cache)) + cache.rows()
    cache.save()
    return sorted(rows, key=lambda found: (found["status"] == "pending", found["path"]))


def _read(study: Path, cache: Cache) -> Iterator[dict[str, Any]]:
    """The rows that are not in the cache; those of finished runs are put there instead."""
    for record in scan(study, passed_over=cache.take):
        if record.damage:
            _say(f"{record.path / record.damage}")
        try:
            found = row(study, record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error) if isinstance(error, ValueError) else f"damaged ({type(error).__name__}: {error})"
            _say(f"skipped {reason}" if os.fspath(record.path) in reason else f"skipped {record.path}: {reason}")
            continue
        if record.result:
            cache.add(record.path, found)
        else:
            yield found


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame of rows, see `row.row`, that know their study."""
    settings = sorted({key for found in rows for key in found} - COLUMNS.keys())
    kinds = COLUMNS | dict.fromkeys(settings, "object")
    return pd.DataFrame({name: pd.Series([found.get(name) for found in rows], dtype=kind) for name, kind in kinds.items()})


def _say(line: str) -> None:
    print(f"analysis: {line}", file=sys.stderr)
