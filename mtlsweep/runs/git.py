"""What git says of a repository."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(repository: Path, *arguments: str, status: int = 0, environment: Mapping[str, str] | None = None) -> str | None:
    """What git prints; None where it does not end with this exit status, or there is none.

    Args:
        repository: its folder.
        arguments: of the command line.
        status: that is expected.
        environment: variables beside this process's.
    """
    command = ["git", "--no-optional-locks", "-C", str(repository), *arguments]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, env=os.environ | dict(environment or {})
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == status else None
