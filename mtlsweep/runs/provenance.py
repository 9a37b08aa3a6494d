"""What code, on what machine, produced a run."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "hydra-core", "omegaconf")


@cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine of this process; read once, when it first takes a run."""
    return code_version() | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "command": sys.argv,
        "directory": str(Path.cwd()),
    }


def code_version() -> dict[str, Any]:
    """`commit` of this package's repository and whether its tracked files are changed (`dirty`); both None where there is no repository."""
    root = Path(__file__).resolve().parents[2]
    # A copy without a .git of its own may lie inside some other repository, whose commit would be a lie.
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": bool(changes) if changes is not None else None}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
