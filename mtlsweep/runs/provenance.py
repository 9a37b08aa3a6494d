"""What code, on what machine, produced a run."""

import hashlib
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from mtlsweep.runs import files
from mtlsweep.runs.git import git

PACKAGES = ("torch", "torchvision", "numpy", "hydra-core", "omegaconf")

# A record of what was changed, not a backup: larger changes belong into a commit.
LARGEST_DIFF = 200_000  # characters
MOST_NAMES = 100

# Where a file that git does not know is code of a run's; of all others no more than the name is kept. What new files in conf/ say is in the
# configuration of the runs that they made.
CODE = ("mtlsweep/", "hydra_plugins/")

_ROOT = Path(__file__).resolve().parents[2]


@cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine of this process; read once, when it first takes a run."""
    return code_version() | {
        "changes": changes_digest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "command": sys.argv,
        "directory": str(Path.cwd()),
    }


def origin(device: str) -> dict[str, Any]:
    """What this process makes epochs with that is no setting of a run: code, torch, and the device, which is given by its name."""
    known = provenance()
    return {"commit": known["commit"], "dirty": known["dirty"], "torch": known["versions"]["torch"], "device": device}


def code_version() -> dict[str, Any]:
    """`commit` of this package's repository, and whether tracked files are changed or its code has new ones (`dirty`); both None where
    there is no repository."""
    state = _state()
    return {"commit": state.commit, "dirty": None if state.commit is None else bool(state.changed or state.new)}


def write_changes(path: Path) -> None:
    """Write how the code differs from its commit, as `git apply` takes it, headed by the names of files that git does not know: of these
    the diff has those of the code.

    Nothing is written where it does not differ or where there is no repository.

    Raises:
        OSError: the file cannot be written.
    """
    text = _changes()
    if text:
        files.write_text(path, text)


def changes_digest() -> str | None:
    """SHA-256 of what `write_changes` writes in this process; None where it writes nothing."""
    return hashlib.sha256(_changes().encode()).hexdigest() if _changes() else None


@cache
def _changes() -> str:
    state = _state()
    if not state.changed and not state.untracked:
        return ""
    plain = ("--no-ext-diff", "--no-color")
    diff = _git("diff", *plain, "HEAD") or "" if state.changed else ""
    diff += "".join(_git("diff", *plain, "--no-index", "/dev/null", name, status=1) or "" for name in state.new)
    cut = f"# cut after {LARGEST_DIFF} of {len(diff)} characters\n" if len(diff) > LARGEST_DIFF else ""
    names = [f"# untracked: {name}\n" for name in state.untracked[:MOST_NAMES]]
    more = len(state.untracked) - len(names)
    head = [f"# changes since {state.commit}\n", *names, *([f"# untracked: {more} more\n"] if more > 0 else []), cut]
    return "".join(head) + diff[:LARGEST_DIFF]


class _State(NamedTuple):
    """What git says about the code: its commit, the tracked files that are changed, the files that it does not know, and which of these are
    code."""

    commit: str | None
    changed: list[str]
    untracked: list[str]
    new: list[str]


@cache
def _state() -> _State:
    # A copy without a .git of its own may lie inside some other repository, whose commit would be a lie.
    answer = _git("status", "--porcelain=v2", "--branch") if (_ROOT / ".git").exists() else None
    lines = (answer or "").splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    changed = [line for line in lines if line[0] in "12u"]
    untracked = [line[2:] for line in lines if line.startswith("? ")]
    # A folder of none but such files is one line of the above.
    new = _git("ls-files", "--others", "--exclude-standard", *CODE) if any(name.startswith(CODE) for name in untracked) else None
    return _State(None if commit == "(initial)" else commit, changed, untracked, (new or "").splitlines())


def _git(*arguments: str, status: int = 0) -> str | None:
    return git(_ROOT, *arguments, status=status)
