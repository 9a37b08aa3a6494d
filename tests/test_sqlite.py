"""URLs of SQLite files."""

from pathlib import Path

import pytest

from mtlsweep.errors import UserError
from mtlsweep.sqlite import sqlite_url


@pytest.mark.parametrize("folder", ["plain", "a b", "a#b", "a@b:c", "a&b=c+d"])
def test_url_is_that_of_the_file(folder: str, tmp_path: Path) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    (tmp_path / folder).mkdir()
    with sqlalchemy.create_engine(sqlite_url(tmp_path / folder / "x.db")).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (c)"))
        connection.commit()
    assert (tmp_path / folder / "x.db").exists()


@pytest.mark.parametrize("folder", ["a?b", "50%41"])
def test_path_that_would_be_another_one_in_a_url_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be in a folder with"):
        sqlite_url(tmp_path / folder / "x.db")
