"""In which commit the code is that a run was made with before it was committed."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

from mtlsweep.runs import Record, RunDirectory, SweepRecord
from mtlsweep.runs.git import git

# What a run is made with: of a commit nothing else is compared.
CODE = ("mtlsweep", "hydra_plugins", "conf", "run.py")

# Of an attempt's provenance in an archive: the commit that has the code, where it was committed after the run.
COMMITTED = "committed"

_REPOSITORY = Path(__file__).resolve().parents[1]


# Base, file of changes -> commit.
Find = Callable[[str, Path], str | None]


def finder() -> Find:
    """`find_commit` in this repository, which is asked once for each sweep of many runs."""
    return cache(partial(find_commit, _REPOSITORY))


def committed_as(study: Path, record: Record, find: Find) -> str | None:
    """The commit whose code is what a finished run was made with in each of its attempts, uncommitted changes included; None where there is
    none.

    Args:
        study: the run's, with the records of its sweeps.
        record: of the run.
        find: see `finder`.
    """
    attempts = provenances(record)
    if all(known.get("dirty") is False for known in attempts):
        return None  # its result says something else
    return only(_commit(study, record, known, find) for known in attempts)


def provenances(record: Record) -> list[dict[str, Any]]:
    """Of all attempts that made a finished run; {} where nothing is known of one."""
    if not record.result:
        return []
    made = range(record.result.get("first_attempt", 1), record.result["attempts"] + 1)
    return [RunDirectory(record.path).attempt_record(number).get("provenance") or {} for number in made]


def only(commits: Iterable[str | None]) -> str | None:
    """The commit that all are; None where they differ or one is not known."""
    found = set(commits)
    return found.pop() if len(found) == 1 else None


def is_commit(name: str) -> bool:
    """Whether this repository has the commit; whether it could be one, where the repository has not all or there is none."""
    if not re.fullmatch("[0-9a-f]{40}", name):
        return False
    whole = (git(_REPOSITORY, "rev-parse", "--is-shallow-repository") or "").strip() == "false"
    return not whole or git(_REPOSITORY, "cat-file", "-e", f"{name}^{{commit}}") is not None


def find_commit(repository: Path, base: str, changes: Path) -> str | None:
    """The first commit after `base` whose code is that of `base` with these changes, a diff of git's; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        steps = (("read-tree", base), ("apply", "--cached", str(changes.resolve())))
        made = all(git(repository, *step, environment=index) is not None for step in steps)
        tree = git(repository, "write-tree", environment=index) if made else None
    later = git(repository, "rev-list", "--reverse", f"{base}..HEAD") if tree else None
    for commit in (later or "").split():
        if git(repository, "diff", "--quiet", str(tree).strip(), commit, "--", *CODE) is not None:
            return commit
    return None


def _commit(study: Path, record: Record, known: dict[str, Any], find: Find) -> str | None:
    """Of one attempt."""
    base = known.get("commit")
    if not base or known.get("dirty") is False:
        return base
    changes = _changes(study, record, known.get("changes"))
    return find(base, changes) if changes else None


def _changes(study: Path, record: Record, digest: str | None) -> Path | None:
    """The file that says how an attempt's code differed from its commit: that of the digest which the process that trained recorded, for
    the code may have been changed since its sweep began."""
    place = record.path.relative_to(study).as_posix()
    sweeps = {sweep.path.parent for sweep in SweepRecord.read_all(study) if place in [cell["directory"] for cell in sweep.cells]}
    kept = [path for path in (*(record.path / "attempts").glob("*.diff"), *(sweep / "code.diff" for sweep in sweeps)) if path.exists()]
    return next((path for path in kept if hashlib.sha256(path.read_bytes()).hexdigest() == digest), None)
