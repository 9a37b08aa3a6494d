"""`python -m mtlsweep logs`: what a run has said, or, where it has not begun, what the job said that was given it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep

from mtlsweep.errors import UserError
from mtlsweep.study.find import find_cell, find_study, is_run
from mtlsweep.study.survey import Entry, Survey

# Between two looks at a log, and at whether there is anybody left who could write there.
POLL_SECONDS = 0.5
STATUS_SECONDS = 15.0


def logs(where: str, words: Sequence[str], follow: bool, lines: int | None) -> None:
    """Print the log of a run; its path, and that of its job's log, on standard error.

    Args:
        where: a run directory, or a study.
        words: of the study's cell, see `find_cells`.
        follow: go on until the run has ended.
        lines: so many of the last ones; None: all.

    Raises:
        UserError: the cell is not found or not clear, or it has no log.
    """
    study, words = (_study(Path(where)), [where]) if is_run(Path(where)) and not words else (find_study(where), words)
    entry = find_cell(Survey.of(study), words)

    def look() -> Entry:
        return next((found for found in Survey.of(study).entries if found.path == entry.path), entry)

    path = _log(entry)
    if not path and not (follow and _may_write(entry)):
        raise UserError(f"{entry.name}: has no log, it is {entry.word}")
    _say(entry, path)
    _Tail(entry, lines).show(look if follow else None)


class _Tail:
    """A log that is printed as it grows; once the run has one of its own, that."""

    def __init__(self, entry: Entry, lines: int | None) -> None:
        self._entry = entry
        self._lines = lines
        self._path: Path | None = None
        self._read = 0

    def show(self, look: Callable[[], Entry] | None) -> None:
        """Print what there is; then, where it can be asked what has become of the run, what comes until its end."""
        self._print_new()
        asked = monotonic()
        while look and _may_write(self._entry):
            sleep(POLL_SECONDS)
            self._print_new()
            if monotonic() - asked > STATUS_SECONDS or (self._entry.path / "result.json").exists():
                asked, self._entry = monotonic(), look()
        self._print_new()

    def _print_new(self) -> None:
        path = _log(self._entry)
        if not path:
            return
        if path != self._path or path.stat().st_size < self._read:  # the run's own has come, or the run is done again
            self._path, self._read = path, 0
        with open(path, "rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        text = new.decode(errors="replace")
        if self._lines is not None:
            text = "".join(text.splitlines(keepends=True)[-self._lines :] if self._lines else [])
            self._lines = None
        sys.stdout.write(text)
        sys.stdout.flush()


def _study(run: Path) -> Path:
    """`<study>/<model>/<loss>/<schedule>/<run>`."""
    return run.resolve().parents[3]


def _log(entry: Entry) -> Path | None:
    return next((path for path in (entry.path / "run.log", entry.log) if path and path.is_file()), None)


def _may_write(entry: Entry) -> bool:
    return entry.word in ("running", "queued", "held")


def _say(entry: Entry, path: Path | None) -> None:
    print(f"==> {path or 'no log yet'} ({entry.name}, {entry.word})", file=sys.stderr)
    if entry.log and entry.log != path and entry.log.is_file():
        print(f"==> its job's: {entry.log}", file=sys.stderr)
