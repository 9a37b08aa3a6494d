"""Finds a study by its path or its name; imports nothing heavy, so that a mistyped one is answered at once."""

from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.study.folder import candidates


def find_study(name: str) -> Path:
    """The folder of a study, given its path or its name below `runs/`; or a results CSV.

    Raises:
        UserError: there is no such folder.
    """
    for path in candidates(name):
        if path.is_dir() or (path.suffix == ".csv" and path.is_file()):
            return path
    raise UserError(f"{name}: no such study (neither {name} nor {Path('runs') / name} is a folder or a CSV file)")
