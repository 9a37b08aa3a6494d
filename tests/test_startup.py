"""What is not needed is not loaded: torch and pandas to read a command line, torch's compiler to train without it; they take seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY

SAYS_WHAT_IS_LOADED = """
import atexit, sys
heavy = {"torch", "torchvision", "pandas", "scipy", "matplotlib", "submitit", "torch._dynamo"}
atexit.register(lambda: print("loaded:", sorted(heavy & set(sys.modules))))
"""
RUN = f"import runpy; runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
# What a shell says when it asks how `python run.py lo` may go on.
COMPLETION = {"COMP_LINE": "python run.py lo", "COMP_POINT": "16"}


def python(directory: Path, code: str, *arguments: str) -> list[str]:
    """The lines that a process prints, the last one about what it has loaded."""
    script = directory / "script.py"
    script.write_text(SAYS_WHAT_IS_LOADED + code)
    environment = os.environ | COMPLETION | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script, *arguments], cwd=directory, capture_output=True, text=True, env=environment, check=True)
    return ended.stdout.splitlines()


def test_import_run_loads_nothing_heavy(tmp_path: Path) -> None:
    assert python(tmp_path, "import run") == ["loaded: []"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--help"], "python run.py"), (["--cfg", "job"], "seed: 42"), (["--shell-completion", "query=bash"], "logger=")],
)
def test_command_that_trains_nothing_loads_nothing_heavy(tmp_path: Path, arguments: list[str], said: str) -> None:
    lines = python(tmp_path, RUN, *arguments)
    assert said in "\n".join(lines)
    assert lines[-1] == "loaded: []"


@pytest.mark.processes
@pytest.mark.parametrize("loss", ["uncertainty", "pcgrad"])
def test_run_that_compiles_nothing_does_not_load_the_compiler(tmp_path: Path, loss: str) -> None:
    lines = python(tmp_path, RUN, *TINY, f"loss={loss}", "schedule.epochs=1")
    assert "not compiled" in lines[0]
    assert lines[-1] == "loaded: ['torch']"
