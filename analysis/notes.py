"""What must be said below a table, so that it is not read for more than it says."""

from collections import Counter

import pandas as pd

from analysis.table import Table, distinct

# Of a broken sweep the first few errors tell enough; all of them are in `results.csv`.
_MAX_ERRORS = 10


def notes(frame: pd.DataFrame, tables: list[Table]) -> list[str]:
    """One line for each thing to know about these tables and the runs they are of."""
    runs = distinct(frame)
    return [_meaning(tables), *_copies(len(frame) - len(runs)), *_code(runs), *_machines(runs), *_errors(runs)]


def _meaning(tables: list[Table]) -> str:
    entries = [entry for table in tables for row in table.rows.values() for entry in row]
    text = (
        "best: highest fine test accuracy over the epochs, the benchmark's metric, optimistic because the epoch is chosen on the test set"
    )
    text += "; last: after the last epoch"
    if any("selected" in table.measures for table in tables):
        text += "; selected: at the epoch of highest validation accuracy"
    if any(entry.n > 1 for entry in entries):
        text += "; ± is the sample standard deviation over n seeds"
    elif any(entry.n for entry in entries):
        text += "; one seed each says nothing about the spread between seeds"
    if any(entry.best for entry in entries):
        text += ". Marked: the highest mean of a column, among the entries with the most seeds, all of them completed"
    return text + "."


def _copies(count: int) -> list[str]:
    return [f"{_plural(count, 'run')} found more than once (same signature) and counted once."] if count else []


def _code(runs: pd.DataFrame) -> list[str]:
    done = runs[runs["epochs"].notna()]
    commits = Counter(done["commit"].fillna("unknown").str[:7])
    dirty = int(done["dirty"].fillna(False).sum())
    several = [f"Runs of {len(commits)} commits: {_counts(commits)}."] if len(commits) > 1 else []
    return several + ([f"{_plural(dirty, 'run')} made with uncommitted changes to the code."] if dirty else [])


def _machines(runs: pd.DataFrame) -> list[str]:
    done = runs[runs["epochs"].notna()]
    engines = Counter((done["device"].fillna("unknown") + " " + done["precision"].fillna("")).str.strip())
    return [f"Runs on {len(engines)} different engines: {_counts(engines)}."] if len(engines) > 1 else []


def _errors(runs: pd.DataFrame) -> list[str]:
    ended = runs[runs["status"].isin(["failed", "diverged"])]
    rows = list(zip(ended["status"], ended["study"] + "/" + ended["path"], ended["error"].fillna("no reason recorded"), strict=True))
    lines = [f"{status}: {path}: {error}" for status, path, error in rows[:_MAX_ERRORS]]
    return lines + ([f"and {len(rows) - _MAX_ERRORS} more failed or diverged, see results.csv"] if len(rows) > _MAX_ERRORS else [])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({_plural(count, 'run')})" for name, count in sorted(counter.items()))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
