"""What the tests share: the command line in this process and in others, a network small enough to train in no time, the real data."""

import os
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

# Steps this small gain nothing from threads, and threads that wait for each other make a busy machine much slower.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# A ResNet-8 of four channels on a few images of the built-in data: an epoch takes a tenth of a second.
TINY = ["model.depth=8", "model.width=4", "data=synthetic", "schedule=smoke", "data.train_size=100", "data.test_size=100"]
EVERY_EPOCH = "checkpoint_seconds=0"


def pytest_configure(config: pytest.Config) -> None:
    """Tests are of a CPU, on every machine, but for those that `-m gpu` asks for; processes that they start inherit it."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start processes take longest and come first, so that in the end nobody waits for one of them alone."""
    starts = Counter(item.path for item in items if item.get_closest_marker("processes"))
    items.sort(key=lambda item: -starts[item.path])


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


CommandLine = Callable[..., Ended]


def real_data() -> Path | None:
    """The folder of the real CIFAR-100, where it is at hand."""
    candidates = [Path(os.environ.get("MTLSWEEP_DATA", "data")), ROOT.parent / "shared" / "data"]
    return next((path for path in candidates if (path / "cifar-100-python" / "train").exists()), None)


needs_real_data = pytest.mark.skipif(real_data() is None, reason="no CIFAR-100 in MTLSWEEP_DATA or ../shared/data")


@pytest.fixture
def double_precision() -> Iterator[None]:
    """New tensors are float64, so that what two ways of computing a number differ by is an error."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """`python run.py ARGUMENTS` in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def command(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "run.py"), *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    yield command
    signal.signal(signal.SIGTERM, handler)


def start(arguments: Sequence[str], directory: Path, **environment: str) -> subprocess.Popen[str]:
    """`python run.py ARGUMENTS` as a process of its own, one thread, in this directory."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and what it starts inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Wait for a process and take what it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()  # one that did not end in time trains on, beside all the other tests
    return Ended(process.returncode, out, err)


def only_run(directory: Path) -> Path:
    """The one run directory below a directory."""
    (found,) = (path.parent for path in directory.glob("runs/*/*/*/*/*/run.json"))
    return found
