"""In which commit the code is that a run was made with before it was committed."""

import os
import subprocess
import tempfile
from pathlib import Path

from mtlsweep.runs import Record, RunDirectory, SweepRecord

# What a run is made with: of a commit nothing else is compared.
CODE = ("mtlsweep", "hydra_plugins", "conf", "run.py")

_REPOSITORY = Path(__file__).resolve().parents[1]


def committed_as(study: Path, record: Record) -> str | None:
    """The commit whose code is what a finished run was made with, its uncommitted changes included; None where there is none.

    A run that was continued is not looked up: each of its attempts may have been of other code.

    Args:
        study: the run's, with the records of its sweeps.
        record: of the run.
    """
    if not record.result or record.result["attempts"] != 1:
        return None
    changes = _changes(study, record)
    known = RunDirectory(record.path).attempt_record(1).get("provenance", {})
    return find_commit(_REPOSITORY, known["commit"], changes) if changes and known.get("commit") else None


def find_commit(repository: Path, base: str, changes: Path) -> str | None:
    """The first commit after `base` whose code is that of `base` with these changes, a diff of git's; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        made = (
            _git(repository, index, "read-tree", base) is not None
            and _git(repository, index, "apply", "--cached", str(changes)) is not None
        )
        tree = _git(repository, index, "write-tree") if made else None
    later = _git(repository, {}, "rev-list", "--reverse", f"{base}..HEAD") if tree else None
    for commit in (later or "").split():
        if _git(repository, {}, "diff", "--quiet", str(tree).strip(), commit, "--", *CODE) is not None:
            return commit
    return None


def _changes(study: Path, record: Record) -> Path | None:
    """The one file that says how the run's code differed from its commit; None where none does, or it is not clear which."""
    place = record.path.relative_to(study).as_posix()
    sweeps = {sweep.path.parent for sweep in SweepRecord.read_all(study) if place in [cell["directory"] for cell in sweep.cells]}
    kept = [path for path in (record.path / "attempts" / "1.diff", *(sweep / "code.diff" for sweep in sweeps)) if path.exists()]
    return kept[0] if len(kept) == 1 else None


def _git(repository: Path, environment: dict[str, str], *arguments: str) -> str | None:
    """What git prints; None where it fails."""
    answer = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, env=os.environ | environment)
    return answer.stdout if answer.returncode == 0 else None
