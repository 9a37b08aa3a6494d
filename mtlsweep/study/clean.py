"""`python -m mtlsweep clean STUDY`: removes what has no result, and what sweeps have recorded of it.

What runs or waits is never touched, nor is any cell that a sweep may come to which is going on. A cell is owned, as by a process that runs
it, while it is removed, so that none can begin it at that moment. Symbolic links are neither followed nor removed.
"""

import contextlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.progress import console
from mtlsweep.runs import Claim, RunDirectory, State, SweepRecord, Taken, files
from mtlsweep.runs.progress import epochs_done
from mtlsweep.runs.sweep_record import FOLDER
from mtlsweep.study.ask import confirm
from mtlsweep.study.find import find_cells
from mtlsweep.study.survey import Entry, Survey
from mtlsweep.words import plural

# Cells that are listed of a kind.
SHOWN = 30

# What is removed unless told otherwise. A diverged run has a result, and one that cannot be read may have one.
UNFINISHED = ("pending", "interrupted", "failed")
BUSY = ("running", "queued", "held")


@dataclass(frozen=True)
class Choice:
    """What is to be removed.

    Attributes:
        cells: words of cells' names, see `find.find_cells`: these only, whatever has become of them; none: all that are unfinished.
        completed: those with a result, too.
        previous: also, of the runs that stay, the earlier results that `rerun` has put aside.
    """

    cells: Sequence[str] = ()
    completed: bool = False
    previous: bool = False


def clean(study: Path, choice: Choice, yes: bool) -> bool:
    """Remove a part of a study.

    Args:
        study: its folder.
        choice: which part.
        yes: do not ask.

    Returns:
        Whether it was done: False where the user has said no.

    Raises:
        UserError: SLURM does not answer, a named cell is not found or is busy, or nobody can be asked.
    """
    survey = Survey.of(study)
    if survey.silent:
        raise UserError("SLURM does not answer: what is queued is not known, and must not be removed")
    busy = _busy(survey)
    chosen = _choose(survey, choice, busy)
    gone = {entry.path for entry in chosen}
    previous = _previous(survey, gone | busy) if choice.previous else []
    if spared := sum(entry.path in busy for entry in survey.entries):
        console.print(f"{spared} running, queued or of a sweep that is going on: left alone")
    if not chosen and not previous:
        console.print(f"{study}: nothing to remove")
        return True
    _list(chosen, previous)
    seen = {entry.path: RunDirectory(entry.path).attempt() for entry in chosen}
    if not confirm(f"remove {plural(len(chosen), 'cell')} for good?" if chosen else "remove these for good?", yes):
        return False
    busy = _busy(Survey.of(study))  # of now: the question may have waited for long
    removed = {path for path, attempt in seen.items() if _remove_run(study, path, attempt, path in busy)}
    for path in previous:
        shutil.rmtree(path)
    _forget(study, removed)
    cells, earlier = plural(len(removed), "cell"), f"earlier results of {plural(len(previous), 'cell')}"
    console.print(f"removed: {', '.join([*([cells] if chosen else []), *([earlier] if previous else [])])}")
    return True


def _busy(survey: Survey) -> set[Path]:
    """Cells that run or wait, and all without a result of the sweeps that have asked for one of these."""
    busy = {entry.path for entry in survey.having(*BUSY)}
    asked = [{survey.study / cell["directory"] for cell in record.cells} for record in SweepRecord.read_all(survey.study)]
    unfinished = {entry.path for entry in survey.entries if not entry.finished}
    return busy.union(*(cells & unfinished for cells in asked if cells & busy))


def _choose(survey: Survey, choice: Choice, busy: Collection[Path]) -> list[Entry]:
    if not choice.cells:
        words = (*UNFINISHED, "completed", "diverged", "redo") if choice.completed else UNFINISHED
        return [entry for entry in survey.having(*words) if entry.path not in busy and _own(survey.study, entry.path)]
    named = find_cells(survey, choice.cells, parts=False)
    for entry in named:
        if entry.path in busy:
            raise UserError(f"{entry.name}: is {entry.word}, or of a sweep that is going on (python -m mtlsweep cancel STUDY ends it)")
        if not _own(survey.study, entry.path):
            raise UserError(f"{entry.path}: leads through a symbolic link or is no run directory")
    return named


def _own(study: Path, path: Path) -> bool:
    """Whether a run directory, which may not exist, lies in the study itself and not behind a link."""
    parts = path.relative_to(study).parts
    return len(parts) == 4 and FOLDER not in parts and path.resolve() == study.resolve().joinpath(*parts)


def _previous(survey: Survey, without: Collection[Path]) -> list[Path]:
    """Earlier results of those runs that stay."""
    paths = [entry.path / "previous" for entry in survey.entries if entry.path not in without and _own(survey.study, entry.path)]
    return [path for path in paths if path.is_dir() and not path.is_symlink()]


def _list(chosen: Sequence[Entry], previous: Sequence[Path]) -> None:
    for word in dict.fromkeys(entry.word for entry in chosen):
        entries = [entry for entry in chosen if entry.word == word]
        console.print(f"{len(entries)} {word}:")
        for entry in entries[:SHOWN]:
            epochs = epochs_done(entry.path)
            console.print(f"  {entry.name}: {entry.path}" + (f" ({epochs} epochs)" if epochs else ""))
        if len(entries) > SHOWN:
            console.print(f"  ... and {len(entries) - SHOWN} more")
    for path in previous:
        console.print(f"earlier results: {path}")


def _remove_run(study: Path, path: Path, attempt: int, waits: bool) -> bool:
    """Remove a run's directory, and the folders above it that are empty then.

    Args:
        study: its folder.
        path: of the run.
        attempt: the newest when it was chosen; with another one it is not what was chosen any more.
        waits: whether something has come to want it.
    """
    try:
        if RunDirectory(path).attempt() == attempt and waits:
            raise Taken("waits to be run by now")
        if path.exists():
            _remove_directory(RunDirectory(path), attempt)
    except (Taken, UserError, OSError) as error:
        console.print(f"left alone: {path}: {error}")
        return False
    with contextlib.suppress(OSError):  # not empty, or not there
        for level in list(path.parents)[:3]:
            level.rmdir()
    return True


def _remove_directory(directory: RunDirectory, attempt: int) -> None:
    status = directory.status()
    if status.state is not State.running and status.attempt != attempt:  # what runs is refused by the claim
        raise Taken("has been run meanwhile")
    (directory / "attempts").mkdir(exist_ok=True)
    with Claim(directory) as claim:
        if claim.attempt != attempt + 1:
            raise Taken("has been run meanwhile")
        shutil.rmtree(directory.path)


def _forget(study: Path, removed: Collection[Path]) -> None:
    """Take removed cells from what sweeps were asked for: a cell that is asked for and has no directory counts as missing. A sweep of which
    no cell is left goes, with its jobs' logs."""
    for record in list(SweepRecord.read_all(study)):
        left = [cell for cell in record.cells if study / cell["directory"] not in removed]
        if left and len(left) < len(record.cells):
            files.write_json(record.path, {"cells": left})
        elif not left:
            record.path.unlink()
            folder = record.path.parent
            if not SweepRecord.in_folder(folder) and not folder.is_symlink():
                shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # not empty
        (study / FOLDER).rmdir()
