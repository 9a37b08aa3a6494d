"""What a sweep was asked for: its list of cells, kept beside the runs, so that missing ones are known without the sweep's process."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlsweep.runs import files
from mtlsweep.runs.cell import Cell

FOLDER = ".sweeps"
PATTERN = "cells-*.json"


@dataclass(frozen=True)
class SweepRecord:
    """The cells of one launch, as `<study>/.sweeps/<time>-<pid>/cells-<k>.json` lists them (a search launches several times)."""

    path: Path
    cells: list[dict[str, Any]]

    @classmethod
    def write(cls, folder: Path, cells: Sequence[Cell]) -> "SweepRecord":
        """Record a launch in its sweep's own folder below the study's `.sweeps`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"cells-{len(cls.in_folder(folder))}.json"
        rows = [cell.describe() | {"directory": str(cell.directory.relative_to(cell.study_dir))} for cell in cells]
        files.write_json(path, {"cells": rows})
        return cls(path, rows)

    @staticmethod
    def in_folder(folder: Path) -> list[Path]:
        """The records in a sweep's folder."""
        return sorted(folder.glob(PATTERN))

    @classmethod
    def read_all(cls, study: Path) -> Iterator["SweepRecord"]:
        """The sweeps recorded in a study's folder, oldest first; those that are damaged or cannot be read are passed over."""
        for path in sorted((study / FOLDER).glob(f"*/{PATTERN}")):
            with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
                record = files.read_json(path) or {}
                cells = [cell for cell in record["cells"] if cell["directory"]]
                yield cls(path, cells)
