"""What is recorded about the code that a run or a sweep was made with."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TINY, CommandLine, only_run

from mtlsweep.runs import provenance
from mtlsweep.runs.provenance import LARGEST_DIFF, MOST_NAMES, code_version, write_changes


def git(root: Path, *arguments: str) -> str:
    known = ["-c", "user.name=n", "-c", "user.email=e@e", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", "-C", str(root), *known, *arguments], capture_output=True, text=True, check=True).stdout


def forget() -> None:
    """What this process has read of its code."""
    for cached in (provenance._state, provenance._changes, provenance.provenance):
        cached.cache_clear()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One with a commit, in place of this package's."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "kept.py").write_text("x = 1\n\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=first")
    monkeypatch.setattr(provenance, "_ROOT", root)
    forget()
    yield root
    monkeypatch.undo()
    forget()


@pytest.fixture
def dirty(repository: Path) -> Path:
    """A changed file and one that git does not know."""
    (repository / "kept.py").write_text("x = 2\n\n")
    (repository / "new.py").write_text("y = 1\n")
    return repository


def test_clean_tree_leaves_no_file(repository: Path, tmp_path: Path) -> None:
    write_changes(tmp_path / "code.diff")
    assert not (tmp_path / "code.diff").exists()
    assert code_version() == {"commit": git(repository, "rev-parse", "HEAD").strip(), "dirty": False}


def test_a_process_records_the_digest_of_its_changes(dirty: Path, tmp_path: Path) -> None:
    write_changes(tmp_path / "code.diff")
    digest = hashlib.sha256((tmp_path / "code.diff").read_bytes()).hexdigest()
    assert provenance.provenance()["changes"] == digest
    git(dirty, "clean", "--force")
    git(dirty, "checkout", "kept.py")
    forget()
    assert provenance.provenance()["changes"] is None


def test_diff_brings_the_commit_to_what_was_run(dirty: Path, tmp_path: Path) -> None:
    write_changes(tmp_path / "code.diff")
    assert "# untracked: new.py\n" in (tmp_path / "code.diff").read_text()
    assert code_version()["dirty"] is True
    git(dirty, "checkout", "kept.py")
    git(dirty, "apply", str(tmp_path / "code.diff"))
    assert (dirty / "kept.py").read_text() == "x = 2\n\n"


def test_large_changes_are_cut_and_say_so(repository: Path, tmp_path: Path) -> None:
    (repository / "kept.py").write_text("z = 3\n" * LARGEST_DIFF)
    for number in range(MOST_NAMES + 7):
        (repository / f"new{number}.py").touch()
    write_changes(tmp_path / "code.diff")
    text = (tmp_path / "code.diff").read_text()
    assert len(text) < 1.1 * LARGEST_DIFF
    assert f"# cut after {LARGEST_DIFF} of " in text
    assert "# untracked: 7 more\n" in text


def test_files_that_git_does_not_know_are_no_changed_ones(repository: Path) -> None:
    (repository / "new.py").touch()
    (repository / "conf").mkdir()
    (repository / "conf" / "mycluster.yaml").touch()
    assert code_version()["dirty"] is False


def test_new_file_of_the_code_is_a_change_and_in_the_diff(repository: Path, tmp_path: Path) -> None:
    new = repository / "mtlsweep" / "losses" / "fixed.py"
    new.parent.mkdir(parents=True)
    new.write_text("weight = 0.5\n")
    write_changes(tmp_path / "code.diff")
    assert code_version()["dirty"] is True
    new.unlink()
    git(repository, "apply", str(tmp_path / "code.diff"))
    assert new.read_text() == "weight = 0.5\n"


def test_without_git_nothing_is_known_and_nothing_is_written(dirty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    write_changes(tmp_path / "code.diff")
    assert not (tmp_path / "code.diff").exists()
    assert code_version() == {"commit": None, "dirty": None}


def test_copy_without_a_repository_of_its_own_takes_no_others(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "copy").mkdir()
    monkeypatch.setattr(provenance, "_ROOT", repository / "copy")
    assert code_version() == {"commit": None, "dirty": None}


def test_git_is_asked_once_and_for_the_diff_only_where_there_is_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = provenance._git

    def counted(*arguments: str) -> str | None:
        asked.append(arguments[0])
        return original(*arguments)

    monkeypatch.setattr(provenance, "_git", counted)
    for _ in range(3):
        code_version()
        write_changes(tmp_path / "code.diff")
    assert asked == ["status"]


def test_sweep_keeps_the_diff_once_and_a_single_run_with_its_attempt(cli: CommandLine, dirty: Path) -> None:
    assert cli("-m", *TINY, "seed=1,2", "study=sweep").status == 0
    (diff,) = Path("runs").glob("**/*.diff")
    assert diff.name == "code.diff"
    assert diff.parent.parent == Path("runs/sweep/.sweeps")
    assert cli(*TINY, "runs_dir=other").status == 0
    assert [path.name for path in Path("other").glob("**/*.diff")] == ["1.diff"]


def test_attempt_says_whether_the_tree_was_clean(cli: CommandLine, dirty: Path) -> None:
    assert cli(*TINY).status == 0
    attempt = json.loads((only_run(Path()) / "attempts" / "1.json").read_text())
    assert attempt["provenance"]["dirty"] is True
    assert attempt["provenance"]["commit"] == git(dirty, "rev-parse", "HEAD").strip()
