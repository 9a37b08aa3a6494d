"""URLs of SQLite files, for the libraries that want one."""

from pathlib import Path

from mtlsweep.errors import UserError


def sqlite_url(file: Path) -> str:
    """The URL that SQLAlchemy, and what is built on it, opens a file by.

    Raises:
        UserError: its path has a character that means something else in a URL. Which of them may be escaped, and how, depends on the
            versions of SQLAlchemy and of MLflow, which makes a folder of the escaped name too.
    """
    path = str(file.absolute())
    if set("?%") & set(path):
        raise UserError(f"{path}: a SQLite database cannot be in a folder with ? or % in its name")
    return f"sqlite:///{path}"
