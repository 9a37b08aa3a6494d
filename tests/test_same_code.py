"""The commit that has the code of a run that was made with uncommitted changes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies import make_cell
from test_provenance import git
from test_publish import edit, finished

from analysis import same_code
from analysis.__main__ import main
from analysis.same_code import find_commit
from mtlsweep.runs import SweepRecord


class Repository:
    """One with a commit of two files, one of them of the code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet")
        self.base = self.commit({"run.py": "1\n", "notes.md": "1\n"})

    def git(self, *arguments: str) -> str:
        return git(self.path, *arguments)

    def write(self, contents: dict[str, str]) -> None:
        for name, content in contents.items():
            (self.path / name).write_text(content)
        self.git("add", "--all")

    def commit(self, contents: dict[str, str]) -> str:
        self.write(contents)
        self.git("commit", "--quiet", "--message", "m")
        return self.git("rev-parse", "HEAD").strip()

    def changes(self, contents: dict[str, str], path: Path) -> Path:
        """A diff from the commit at hand, which stays as it is."""
        self.write(contents)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# changes since {self.base}\n" + self.git("diff", "--cached"))
        self.git("reset", "--quiet", "--hard")
        return path


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository")
    monkeypatch.setattr(same_code, "_REPOSITORY", made.path)
    return made


def test_the_first_commit_with_the_same_code_is_found(repository: Repository, tmp_path: Path) -> None:
    changes = repository.changes({"run.py": "2\n", "notes.md": "2\n"}, tmp_path / "code.diff")
    repository.commit({"run.py": "3\n"})
    assert find_commit(repository.path, repository.base, changes) is None
    meant = repository.commit({"run.py": "2\n", "notes.md": "something else\n"})
    repository.commit({"notes.md": "4\n"})
    assert find_commit(repository.path, repository.base, changes) == meant
    assert repository.git("status", "--porcelain") == ""


def test_changes_that_do_not_fit_or_are_cut_are_of_no_commit(repository: Repository, tmp_path: Path) -> None:
    changes = repository.changes({"run.py": "2\n"}, tmp_path / "code.diff")
    repository.commit({"run.py": "2\n"})
    assert find_commit(repository.path, "0" * 40, changes) is None
    changes.write_text(changes.read_text()[:-4])
    assert find_commit(repository.path, repository.base, changes) is None


def dirty_run(study: Path, repository: Repository) -> Path:
    path = finished(study)
    edit(path / "result.json", commit=repository.base, dirty=True)
    record(path, commit=repository.base, dirty=True)
    return path


def record(path: Path, number: int = 1, **values: Any) -> None:
    """In the provenance of one of a run's attempts."""
    attempt = json.loads((path / "attempts" / f"{number}.json").read_text())
    edit(path / "attempts" / f"{number}.json", provenance=attempt["provenance"] | values)


def digest(changes: Path) -> str:
    return hashlib.sha256(changes.read_bytes()).hexdigest()


@pytest.mark.parametrize("kept", ["sweep", "run"])
def test_run_whose_changes_were_committed_later_is_published_as_of_that_commit(repository: Repository, tmp_path: Path, kept: str) -> None:
    study, results = tmp_path / "runs" / "s", tmp_path / "results"
    path = dirty_run(study, repository)
    folder = study / ".sweeps" / "1"
    SweepRecord.write(folder, [make_cell(study)])
    changes = repository.changes({"run.py": "2\n"}, folder / "code.diff" if kept == "sweep" else path / "attempts" / "1.diff")
    record(path, changes=digest(changes))
    assert main(["publish", str(results), str(study)]) == 2
    commit = repository.commit({"run.py": "2\n"})
    assert main(["publish", str(results), str(study)]) == 0
    assert main(["publish", str(results)]) == 0
    (row,) = pd.read_csv(results / "results.csv").to_dict("records")
    assert (row["commit"], row["dirty"]) == (commit, False)
    assert "uncommitted" not in (results / "table.md").read_text()
    copied = results / "runs" / path.relative_to(study)
    assert (copied / "result.json").read_text() == (path / "result.json").read_text()


def test_run_that_was_continued_is_of_the_commit_that_all_its_attempts_are_of(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, results = tmp_path / "runs" / "s", tmp_path / "results"
    path = dirty_run(study, repository)
    edit(path / "result.json", attempts=2)
    (path / "attempts" / "2.json").write_text((path / "attempts" / "1.json").read_text())
    for number, notes in ((1, "one"), (2, "other")):  # the same code
        changes = repository.changes({"run.py": "2\n", "notes.md": notes}, path / "attempts" / f"{number}.diff")
        record(path, number, changes=digest(changes))
    commit = repository.commit({"run.py": "2\n"})
    other = repository.changes({"run.py": "3\n"}, path / "attempts" / "3.diff")
    for values in ({"changes": None}, {"changes": digest(other)}, {"dirty": False}):
        kept = (path / "attempts" / "2.json").read_text()
        record(path, 2, **values)
        assert main(["publish", str(results), str(study)]) == 2
        assert "the code that made it is in no commit" in capsys.readouterr().err
        (path / "attempts" / "2.json").write_text(kept)
    assert main(["publish", str(results), str(study)]) == 0
    assert main(["publish", str(results)]) == 0
    (row,) = pd.read_csv(results / "results.csv").to_dict("records")
    assert (row["commit"], row["dirty"]) == (commit, False)
    record(results / "runs" / path.relative_to(study), 2, committed=repository.base)
    assert main(["publish", str(results)]) == 2


def test_attempts_whose_epochs_were_thrown_away_do_not_count(repository: Repository, tmp_path: Path) -> None:
    """Those of a result that was put aside, or that ended before the first checkpoint."""
    study, results = tmp_path / "runs" / "s", tmp_path / "results"
    path = dirty_run(study, repository)
    (path / "attempts" / "2.json").write_text((path / "attempts" / "1.json").read_text())
    changes = repository.changes({"run.py": "2\n"}, path / "attempts" / "2.diff")
    record(path, 2, changes=digest(changes))
    commit = repository.commit({"run.py": "2\n"})
    edit(path / "result.json", attempts=2)
    assert main(["publish", str(results), str(study)]) == 2
    edit(path / "result.json", first_attempt=2)
    assert main(["publish", str(results), str(study)]) == 0
    assert main(["publish", str(results)]) == 0
    (row,) = pd.read_csv(results / "results.csv").to_dict("records")
    assert (row["commit"], row["dirty"]) == (commit, False)


def test_run_that_was_trained_with_other_changes_or_whose_attempts_are_not_known_is_refused(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, results = tmp_path / "runs" / "s", tmp_path / "results"
    path = dirty_run(study, repository)
    changes = repository.changes({"run.py": "2\n"}, path / "attempts" / "1.diff")
    repository.commit({"run.py": "2\n"})
    for known in (None, "0" * 64):
        record(path, changes=known)
        assert main(["publish", str(results), str(study)]) == 2
    record(path, changes=digest(changes))
    edit(path / "result.json", attempts=2)
    assert main(["publish", str(results), str(study)]) == 2
    assert capsys.readouterr().err.count("the code that made it is in no commit") == 3
    edit(path / "result.json", attempts=1)
    assert main(["publish", str(results), str(study)]) == 0


@pytest.mark.parametrize("name", ["no such commit", "0" * 40, None])
def test_published_run_of_a_commit_that_does_not_exist_is_refused(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    study, results = tmp_path / "runs" / "s", tmp_path / "results"
    path = dirty_run(study, repository)
    record(path, changes=digest(repository.changes({"run.py": "2\n"}, path / "attempts" / "1.diff")))
    repository.commit({"run.py": "2\n"})
    assert main(["publish", str(results), str(study)]) == 0
    copied = results / "runs" / path.relative_to(study)
    record(copied, committed=name)
    assert main(["publish", str(results)]) == 2
    edit(copied / "attempts" / "1.json", provenance=None)
    assert main(["publish", str(results)]) == 2
    assert capsys.readouterr().err.count("the code that made it is in no commit") == 2
