"""The README's commands and examples do what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
EXTENDING = (ROOT / "docs" / "extending.md").read_text()

pytestmark = pytest.mark.processes


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def commands(language: str) -> list[list[str]]:
    """The command lines in the code blocks of a language, without their comments."""
    return [shlex.split(line, comments=True) for block in blocks(language) for line in block.splitlines()]


def example_files(page: str) -> dict[str, str]:
    """The examples that begin with the name of their file, without it."""
    found = blocks("python", page) + blocks("yaml", page)
    return {match[1]: block[match.end() :] for block in found if (match := re.match(r"# (\S+)\n", block))}


def run(command: list[str], directory: Path) -> str:
    program, *arguments = command
    assert program == "python"
    if arguments[0] == "run.py" and not (directory / "run.py").exists():
        arguments[0] = str(ROOT / "run.py")
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # threads that wait for each other make a busy machine much slower
    ended = subprocess.run([sys.executable, *arguments], cwd=directory, capture_output=True, text=True, env=alone)
    assert ended.returncode == 0, (command, ended)
    return ended.stdout


def test_everyday_commands_run(tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(example_files(README)["my_loss.py"])
    found = commands("bash")
    assert len(found) >= 6
    for command in found:
        assert run(command, tmp_path)
    assert len(list(tmp_path.glob("runs/first/*/*/*/*/result.json"))) == 6


def test_long_commands_compose(tmp_path: Path) -> None:
    found = commands("bash gpu")
    assert ["python", "run.py"] in found
    composed = set()
    for command in found:
        cells = frozenset(word for word in command if not word.startswith("hydra"))
        fewer = ["loss=equal"] if cells in composed else []  # the same cells with another launcher: one strategy of them will do
        composed.add(cells)
        assert "dry run, nothing trained" in run([*command, *fewer, "dry_run=true"], tmp_path)


def test_two_files_each_make_a_strategy_a_curriculum_and_a_model(tmp_path: Path) -> None:
    for name in ("conf", "mtlsweep", "analysis", "hydra_plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.py", "ruff.toml"):
        shutil.copy(ROOT / name, tmp_path)
    files = example_files(EXTENDING)
    assert len(files) == 6
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert "resnet20 fixed " in run(["python", "run.py", "-m", "loss=glob(f*)", "dry_run=true"], tmp_path)
    page = run(["python", "-m", "mtlsweep", "strategies", "--format", "markdown"], tmp_path)
    assert "A fixed weight for the coarse loss (no paper)." in page
    small = ["schedule=smoke", "data=synthetic", "data.train_size=100", "data.test_size=100"]
    assert "Final metrics" in run(["python", "run.py", "model=plain", "model.width=8", "loss=fixed", "loss.weight=0.3", *small], tmp_path)
    assert "Final metrics" in run(["python", "run.py", "model=plain", "model.width=8", "loss=pcgrad", "curriculum=tent", *small], tmp_path)
    written = [name for name in files if name.endswith(".py")]
    subprocess.run([sys.executable, "-m", "ruff", "check", *written], cwd=tmp_path, check=True)


def test_targets_named_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    pages = " ".join(page.read_text() for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
    named = {*re.findall(r"make ([a-z-]+)", README), *re.findall(r"`make ([a-z-]+)", pages)}
    assert {"test", "test-gpu", "test-slurm", "bench-gpu"} <= named
    assert named <= targets


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")], ids=lambda page: page.parent.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_strategies_and_curricula_listed_are_all_there_are() -> None:
    section = README.partition("## Strategies")[2].partition("## The table")[0]
    for group in ("loss", "curriculum"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in section or f"={path.stem}`" in section or path.stem == "none", path
