"""What must be said below a table, so that it is not read for more than it says."""

from collections import Counter

import pandas as pd

from analysis.table import Table, differing, distinct, ended, engine_words
from mtlsweep.words import plural

# Of a broken sweep the first few errors tell enough; all of them are in `results.csv`.
_MAX_ERRORS = 10


def notes(frame: pd.DataFrame, tables: list[Table], errors: bool = True) -> list[str]:
    """One line for each thing to know about these tables and the runs they are of; with `errors` the failed and diverged runs too."""
    return [*apart(distinct(frame)), *remarks(frame, tables, errors)]


def remarks(frame: pd.DataFrame, tables: list[Table], errors: bool = True) -> list[str]:
    """The notes less what keeps runs apart, where that is said first."""
    runs = distinct(frame)
    found = [_meaning(tables), *_copies(frame, len(frame) - len(runs)), *_code(runs), *_machines(runs)]
    return found + (_errors(runs) if errors else [])


def apart(runs: pd.DataFrame) -> list[str]:
    """What keeps runs apart in tables of their own; nothing where there is one table."""
    ones = runs.drop_duplicates("setting")
    if len(ones) <= 1:
        return []
    what = ", ".join(differing(ones)) or "what this file does not hold"
    return [f"{len(ones)} settings that are not to be averaged or compared, a table each; they differ in {what}."]


def _meaning(tables: list[Table]) -> str:
    entries = [entry for table in tables for row in table.rows.values() for entry in row]
    meaning = (
        "best: highest fine test accuracy over the epochs, the benchmark's metric, optimistic because the epoch is chosen on the test set"
    )
    meaning += "; last: after the last epoch"
    if any("selected" in table.measures for table in tables):
        meaning += "; selected: at the epoch of highest validation accuracy"
    if any(entry.n > 1 for entry in entries):
        meaning += "; ± is the sample standard deviation over n seeds"
    elif any(entry.n for entry in entries):
        meaning += "; one seed each says nothing about the spread between seeds"
    if any(entry.best for entry in entries):
        meaning += ". Marked: the highest mean of a column, among the entries with the most seeds, all of them completed"
    if any(entry.tied for entry in entries):
        meaning += "; underlined (~): a paired t test over seeds, corrected for the column, could have told the entry from it and does not"
    return meaning + "."


def made_by(runs: pd.DataFrame) -> str:
    """By which commits and on what runs were made: `commit aaaaaaa (9 runs); on cpu fp32 (9 runs)`; and what was not as it should be."""
    done = ended(runs)
    if done.empty:
        return "no finished run"
    return "; ".join([f"commit {_counts(_commits(done))}", f"on {_counts(_engines(done))}", *_uncommitted(done), *_midway(done)])


def _copies(frame: pd.DataFrame, count: int) -> list[str]:
    if not count:
        return []
    found = [f"{plural(count, 'run')} found more than once (same signature) and counted once."]
    results = ended(frame).groupby("signature")[["best_fine_acc", "last_fine_acc"]].nunique(dropna=False)
    unlike = int((results > 1).any(axis=1).sum())
    if unlike:
        found.append(
            f"{plural(unlike, 'run')} of them found with different results: the first is counted; `compare` sets them side by side."
        )
    return found


def _code(runs: pd.DataFrame) -> list[str]:
    done = ended(runs)
    commits = _commits(done)
    several = [f"Runs of {len(commits)} commits: {_counts(commits)}"] if len(commits) > 1 else []
    return [f"{line}." for line in [*several, *_uncommitted(done), *_midway(done)]]


def _uncommitted(done: pd.DataFrame) -> list[str]:
    dirty = int(done["dirty"].fillna(False).sum())
    return [f"{plural(dirty, 'run')} made with uncommitted changes to the code"] if dirty else []


def _midway(done: pd.DataFrame) -> list[str]:
    changes = done["changed_midway"].dropna()
    if changes.empty:
        return []
    what = ", ".join(sorted({word for change in changes for word in change.split(", ")}))
    return [f"{plural(len(changes), 'run')} interrupted and continued with another {what}: the last one's is named here"]


def _commits(done: pd.DataFrame) -> Counter[str]:
    return Counter(done["commit"].fillna("unknown").str[:7])


def _machines(runs: pd.DataFrame) -> list[str]:
    engines = _engines(ended(runs))
    return [f"Runs on {len(engines)} different engines: {_counts(engines)}."] if len(engines) > 1 else []


def _engines(done: pd.DataFrame) -> Counter[str]:
    named = (done["device"].fillna("unknown") + " " + done["precision"].fillna("")).str.strip()
    versions = done["torch"].fillna("unknown")
    named += " torch " + versions if versions.nunique() > 1 else ""
    return Counter(named + _otherwise(done["resolved_engine"]))


def _otherwise(engines: pd.Series) -> pd.Series:
    """What the engines differ in beside the precision, which is always named."""
    words = engine_words(engines).map(lambda found: {word for word in found if not word.startswith("precision=")})
    common = set.intersection(*words) if len(words) else set()
    return words.map(lambda found: "".join(f" {word}" for word in sorted(found - common)))


def _errors(runs: pd.DataFrame) -> list[str]:
    bad = runs[runs["status"].isin(["failed", "diverged"])]
    rows = list(zip(bad["status"], bad["study"] + "/" + bad["path"], bad["error"].fillna("no reason recorded"), strict=True))
    lines = [f"{status}: {path}: {error}" for status, path, error in rows[:_MAX_ERRORS]]
    return lines + ([f"and {len(rows) - _MAX_ERRORS} more failed or diverged, see results.csv"] if len(rows) > _MAX_ERRORS else [])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({plural(count, 'run')})" for name, count in sorted(counter.items()))
