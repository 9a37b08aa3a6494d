"""From the start of a process to the end of its first training step."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.section import Layout, Section, times
from benchmarks.setting import Setting
from benchmarks.timing import Subject, measure

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "python -c 'import torch, torchvision'"
FIRST_STEP = "run.py, to the end of its first step"
# The least that a run can be asked for.
SMALL = ["data=synthetic", "schedule.epochs=1", "data.train_size=128", "data.test_size=100"]
TINY = ["model.depth=8", "model.width=4"]


def run(setting: Setting) -> Iterator[Section]:
    """One table; the smallest architecture."""
    arguments = [*SMALL, *(TINY if setting.quick else [])]
    whole = {FIRST_STEP: _process(first_step(arguments, setting))}
    others = {
        REFERENCE: _process(["-c", "import torch, torchvision"]),
        "run.py --help": _process([str(ROOT / "run.py"), "--help"]),
    }
    compared = whole if setting.quick else others | whole
    plan = replace(setting.plan, rounds=1) if setting.quick else setting.plan
    comparison = measure(compared, plan, setting.device)
    yield times("Start-up, resnet20, 128 built-in images", comparison, Layout([REFERENCE], step="a process"))


def first_step(arguments: Sequence[str], setting: Setting, steps: int = 1) -> list[str]:
    """Arguments of Python for a run that ends after so many optimizer steps; it prints its peak memory, KiB."""
    script, run_py = str(ROOT / "benchmarks" / "first_step.py"), str(ROOT / "run.py")
    return [script, str(steps), run_py, *arguments, f"engine.device={setting.device}"]


def output(arguments: Sequence[str]) -> str:
    """What a Python process of these arguments prints.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        ended = subprocess.run([sys.executable, *arguments], cwd=directory, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"exit status {ended.returncode}: {' '.join((ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:])}")
    return ended.stdout


def _process(arguments: Sequence[str]) -> Subject:
    """One step is one process."""

    def prepare(steps: int) -> Callable[[], object]:
        def perform() -> None:
            for _ in range(steps):
                output(arguments)

        return perform

    return Subject(prepare, steps=1)
