"""The runs of one commit, of a study or of a results CSV: exactly one commit is meant, or none is taken."""

from pathlib import Path

import pytest
from studies import complete, make_cell

from analysis.collect import collect, write_csv
from analysis.commits import runs_of
from mtlsweep.errors import UserError

FIRST, SECOND, THIRD = "aab" + "1" * 37, "aac" + "2" * 37, "b" * 40


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three commits, two of which begin alike; and their `results.csv`."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    for seed, commit in enumerate((FIRST, SECOND, THIRD)):
        complete(make_cell(folder, seed=seed), 50.0 + seed, 50.0, commit=commit)
    write_csv(collect([folder]), folder / "results.csv")
    return folder


@pytest.fixture(params=["folder", "csv"])
def named(study: Path, request: pytest.FixtureRequest) -> Path:
    return study if request.param == "folder" else study / "results.csv"


@pytest.mark.parametrize(("commit", "seed"), [("aab", 0), ("aac", 1), (SECOND, 1), ("b", 2)])
def test_a_commit_is_named_by_its_first_digits(named: Path, commit: str, seed: int) -> None:
    assert runs_of(f"{named}@{commit}")["seed"].tolist() == [seed]


def test_digits_that_several_commits_begin_with_are_refused_with_the_commits(named: Path) -> None:
    with pytest.raises(UserError, match=f"several commits begin with aa: {FIRST}, {SECOND}$"):
        runs_of(f"{named}@aa")


@pytest.mark.parametrize(("commit", "said"), [("", "no commit after the @"), ("c", "no finished run of commit c")])
def test_no_commit_or_one_that_made_no_run_is_refused_with_those_that_did(named: Path, commit: str, said: str) -> None:
    with pytest.raises(UserError, match=f"{said}; there are runs of: aab1111, aac2222, bbbbbbb$"):
        runs_of(f"{named}@{commit}")


def test_an_at_sign_may_be_part_of_a_files_name(study: Path, tmp_path: Path) -> None:
    (tmp_path / "demo@home.csv").write_text((study / "results.csv").read_text())
    assert len(runs_of(str(tmp_path / "demo@home.csv"))) == 3
