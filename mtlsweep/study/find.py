"""Finds what the user means: a study by its path or name, its cells by their paths or by words of their names."""

from collections.abc import Sequence
from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.runs import label
from mtlsweep.study.folder import candidates, is_study
from mtlsweep.study.survey import Entry, Survey

# Choices that are listed where a name is not clear.
SHOWN = 20


def find_study(name: str) -> Path:
    """The folder of a study, given its path or its name below `runs/`.

    Raises:
        UserError: there is no such folder, or it holds neither runs nor sweeps.
    """
    folders = [path for path in candidates(name) if path.is_dir()]
    if folders and is_study(folders[0]):
        return folders[0]
    if folders:
        raise UserError(f"{' and '.join(map(str, folders))}: not a study (it holds neither runs nor sweeps)")
    raise UserError(f"{name}: no such study (neither {name} nor {Path('runs') / name} is a folder)")


def is_run(path: Path) -> bool:
    """Whether a folder is a run's."""
    return (path / "run.json").exists()


def find_cell(survey: Survey, words: Sequence[str]) -> Entry:
    """The one cell that these words mean, see `find_cells`.

    Raises:
        UserError: there is none, or there are several.
    """
    found = find_cells(survey, words)
    if len(found) > 1:
        raise UserError(f"{' '.join(words) or survey.study}: which of these {len(found)}?\n{choices(found)}")
    return found[0]


def find_cells(survey: Survey, words: Sequence[str], parts: bool = True) -> list[Entry]:
    """The cells that have all these words in their names, `haw seed 42`; or the cell whose run directory is named.

    Args:
        survey: of their study.
        words: whole ones, or a path.
        parts: parts of words will do where no cell has the whole words.

    Raises:
        UserError: there is none.
    """
    at = _at(survey, Path(words[0])) if len(words) == 1 else None
    if at:
        return [at]
    wanted = " ".join(words).split()
    texts = {entry.path: _text(entry) for entry in survey.entries}
    for matches in (_whole_words, _parts)[: 1 + parts]:
        found = [entry for entry in survey.entries if matches(wanted, texts[entry.path])]
        if found:
            return found
    how = "" if parts else " with these whole words in its name"
    raise UserError(f"{' '.join(words)}: no such cell{how} in {survey.study}; it has\n{choices(survey.entries)}")


def choices(entries: Sequence[Entry]) -> str:
    """Cells as lines: name, status and path."""
    lines = [f"  {entry.name} ({entry.word}): {entry.path}" for entry in entries[:SHOWN]]
    more = [f"  ... and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return "\n".join(lines + more)


def _at(survey: Survey, path: Path) -> Entry | None:
    """A link to a run directory is one, too."""
    wanted = {path.resolve(), (survey.study / path).resolve()}
    return next((entry for entry in survey.entries if entry.path.resolve() in wanted), None)


def _text(entry: Entry) -> str:
    run = entry.record.run
    full = label(run["options"], run["variant"], run["seed"]) if run else ""
    return f"{entry.name} {full} {entry.path.name} {entry.path}"


def _whole_words(wanted: Sequence[str], text: str) -> bool:
    return set(wanted) <= set(text.split())


def _parts(wanted: Sequence[str], text: str) -> bool:
    return all(word in text for word in wanted)
