"""Rows of finished runs, kept beside them, so that a study of thousands is not read again for the few runs that are new."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from analysis import row
from mtlsweep.runs import cell, files

# What a row is made of, beside the record of its last attempt. What a finished run has written does not change.
_FILES = ("run.json", "result.json")


class Cache:
    """The rows of a study's runs that have a result, valid while neither of their two files changes.

    What has no result may change with the clock alone (an owner that is gone), and what is damaged shall be named each time: neither is
    kept.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._path = study / ".analysis" / "rows.json"
        self._old = self._load()
        self._new: dict[str, Any] = {}
        self._stamps: dict[str, list[int] | None] = {}  # as they were before the files were read

    def take(self, directory: Path) -> bool:
        """Whether the row of this run directory is known and still true; it is then among `rows`."""
        name = self._name(directory)
        known = self._old.get(name)
        self._stamps[name] = _stamp(directory)
        if known is None or known["stamp"] != self._stamps[name]:
            return False
        self._new[name] = known
        return True

    def add(self, directory: Path, found: dict[str, Any]) -> None:
        """Keep the row of a run that has a result and that was not taken. It holds for the files as they were when `take` was asked."""
        name = self._name(directory)
        self._new[name] = {"stamp": self._stamps[name], "row": found}

    def rows(self) -> list[dict[str, Any]]:
        """All rows that were taken or added."""
        return [entry["row"] for entry in self._new.values()]

    def save(self) -> None:
        """Write the cache where it has changed; a study that cannot be written to goes without."""
        if self._new == self._old:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            files.write_text(self._path, json.dumps({"version": _version(), "rows": self._new}))

    def _name(self, directory: Path) -> str:
        return directory.relative_to(self._study).as_posix()

    def _load(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            content = files.read_json(self._path) or {}
            if content.get("version") == _version():
                return content["rows"]
        return {}


def _stamp(directory: Path) -> list[int] | None:
    """Time and size of the files that a row is made of; None where one of them is not there."""
    try:
        found = [(directory / name).stat() for name in _FILES]
    except OSError:
        return None
    return [number for file in found for number in (file.st_mtime_ns, file.st_size)]


def _version() -> str:
    """Changes with the code that makes a row of the files."""
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in (row, cell))).hexdigest()
