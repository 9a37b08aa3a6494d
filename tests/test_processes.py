"""Sweeps and runs as users start and end them, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import EVERY_EPOCH, TINY, finish, only_run, start
from test_train import metrics, result

pytestmark = pytest.mark.processes

# Long enough that a process can be ended in the middle of an epoch, short enough to wait for.
LONG = [*TINY, EVERY_EPOCH, "schedule.epochs=40"]


def run(*arguments: str, directory: Path) -> str:
    ended = finish(start(arguments, directory))
    assert ended.status == 0, ended
    return ended.out


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def epochs(directory: Path, seed: int | str = "*") -> int:
    found = list(directory.glob(f"runs/*/*/*/*/seed{seed}-*/metrics.csv"))
    return len(found[0].read_text().splitlines()) - 1 if found else 0


def files(directory: Path) -> dict[Path, int]:
    """Every file below the runs and when it was last changed."""
    return {path: path.stat().st_mtime_ns for path in directory.glob("runs/**/*") if path.is_file()}


@pytest.mark.parametrize("loss", ["uncertainty", "pcgrad"])
def test_killed_run_continues_and_ends_as_if_undisturbed(tmp_path: Path, loss: str) -> None:
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    arguments = [*LONG, f"loss={loss}"]
    process = start(arguments, tmp_path / "killed")
    wait_for(lambda: epochs(tmp_path / "killed") >= 5, process)
    process.kill()
    process.communicate()
    before = epochs(tmp_path / "killed")
    assert 5 <= before < 40
    run(*arguments, directory=tmp_path / "killed")
    run(*arguments, directory=tmp_path / "undisturbed")
    killed, undisturbed = (only_run(tmp_path / name) for name in ("killed", "undisturbed"))
    resumed_after = re.search(r"resuming after epoch (\d+) of 40", (killed / "run.log").read_text())
    assert resumed_after
    assert int(resumed_after[1]) in (before - 1, before)
    assert metrics(killed) == metrics(undisturbed)
    assert len(metrics(killed)) == 40
    assert not (killed / "checkpoint.pt").exists()
    assert [result(path)["best_fine_acc"] for path in (killed, undisturbed)] == [result(killed)["best_fine_acc"]] * 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_sweep_says_how_to_go_on_and_does(tmp_path: Path, how: signal.Signals) -> None:
    arguments = ["-m", *LONG, "seed=1,2"]
    process = start(arguments, tmp_path)
    wait_for(lambda: epochs(tmp_path) >= 3, process)
    process.send_signal(how)
    ended = finish(process)
    assert ended.status == 130
    assert "interrupted, 0 of 2 done: the same command continues" in ended.out
    assert "Traceback" not in ended.out + ended.err
    out = run(*arguments, directory=tmp_path)
    assert "resuming after epoch" in out
    assert "2 cells in" in out
    assert "2 completed" in out


def test_second_invocation_does_nothing(tmp_path: Path) -> None:
    arguments = ["-m", *TINY, "loss=fine_only,equal"]
    first = run(*arguments, directory=tmp_path)
    assert "2 cells, 2 to run" in first
    assert first.count("Final metrics") == 2
    before = files(tmp_path)
    second = run(*arguments, directory=tmp_path)
    assert "2 cells, 0 to run" in second
    assert "TRAIN_METRICS" not in second
    changed = {path.name for path, _ in files(tmp_path).items() ^ before.items()}
    assert changed <= {"results.csv", "multirun.yaml", "cells-0.json"}


def test_sweep_over_a_parameter_gives_separate_runs_and_rows(tmp_path: Path) -> None:
    out = run("-m", *TINY, "loss=haw", "loss.beta=1,2,3", directory=tmp_path)
    found = sorted(tmp_path.glob("runs/default/resnet20/haw/smoke/*"))
    assert len(found) == 3
    assert len({result(path)["signature"] for path in found}) == 3
    for row in ("haw[beta=1]", "haw ", "haw[beta=3]"):
        assert row in out
    assert (tmp_path / "runs/default/results.csv").exists()


RAISES = """
from torch import nn

class MultiTaskLoss(nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        if epoch == 1:
            raise RuntimeError("out of ideas")
        return fine_loss + coarse_loss
"""


def test_failed_cell_costs_one_cell_and_is_retried(tmp_path: Path) -> None:
    strategy = tmp_path / "my_loss.py"
    strategy.write_text(RAISES)
    (tmp_path / "fixed.py").write_text(RAISES.replace("raise RuntimeError", "str"))
    arguments = ["-m", *TINY, "loss=user/file", "seed=1", EVERY_EPOCH]
    ended = finish(start([*arguments, "loss.path=my_loss.py,fixed.py"], tmp_path))
    assert ended.status == 1
    assert "failed: my_loss.py, line 7: RuntimeError: out of ideas (traceback in runs/default/resnet20/user-file/smoke/" in ended.out
    assert "1 failed, 1 completed" in ended.out
    assert "Traceback" not in ended.err
    (failed,) = (path.parent for path in tmp_path.glob("runs/**/status.json"))
    assert 'raise RuntimeError("out of ideas")' in (failed / "run.log").read_text()
    again = finish(start([*arguments, "loss.path=my_loss.py,fixed.py"], tmp_path))
    assert again.status == 1
    assert "2 cells, 1 to run" in again.out


def test_rerun_does_finished_runs_again_and_keeps_the_earlier_result(tmp_path: Path) -> None:
    run(*TINY, directory=tmp_path)
    first = metrics(only_run(tmp_path))
    assert "done already" in run(*TINY, "rerun=failed", directory=tmp_path)
    assert "done already" in run(*TINY, "rerun=diverged", directory=tmp_path)
    assert "TRAIN_METRICS" in run(*TINY, "rerun=all", directory=tmp_path)
    directory = only_run(tmp_path)
    assert metrics(directory) == first
    results = [json.loads((folder / "result.json").read_text()) for folder in (directory / "previous" / "1", directory)]
    assert [(result["first_attempt"], result["attempts"]) for result in results] == [(1, 1), (2, 2)]


def test_run_that_another_process_executes_is_left_to_it(tmp_path: Path) -> None:
    first = start([*TINY, "schedule.epochs=400"], tmp_path)
    wait_for(lambda: epochs(tmp_path) >= 1, first)
    second = finish(start([*TINY, "schedule.epochs=400"], tmp_path))
    assert second.status == 0
    assert f"is being run by process {first.pid}" in second.out
    sweep = finish(start(["-m", *TINY, "schedule.epochs=400,1"], tmp_path))
    assert sweep.status == 0
    assert "1 taken, 1 completed" in sweep.out
    first.kill()
    first.communicate()


def test_reader_of_the_output_that_leaves_is_no_failure_of_a_run(tmp_path: Path) -> None:
    """As with `| head`: the run can go on."""
    process = start([*TINY, "schedule.epochs=400"], tmp_path)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    try:
        assert process.wait(timeout=300) == 130
    finally:
        process.kill()
    assert json.loads((only_run(tmp_path) / "status.json").read_text())["state"] == "interrupted"


def test_interrupted_rerun_goes_on_without_rerun(tmp_path: Path) -> None:
    """Also with what it had not come to."""
    arguments = ["-m", *LONG, "seed=1,2"]
    run(*arguments, directory=tmp_path)
    process = start([*arguments, "rerun=all"], tmp_path)
    wait_for(lambda: 3 <= epochs(tmp_path, seed=1) < 40, process)
    process.send_signal(signal.SIGINT)
    assert "interrupted, 0 of 2 done: the same command without rerun continues" in finish(process).out
    again = run(*arguments, directory=tmp_path)
    assert "2 cells, 2 to run" in again
    assert "resuming after epoch" in again
    assert len(list(tmp_path.glob("runs/*/*/*/*/*/previous/1/result.json"))) == 2
    assert "2 cells, 0 to run" in run(*arguments, directory=tmp_path)


EXITS = RAISES.replace("raise RuntimeError", "raise SystemExit")


def test_strategy_that_exits_fails_its_cell_only(tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(EXITS)
    ended = finish(start(["-m", *TINY, "loss=user/file", "loss.path=my_loss.py", "seed=1,2"], tmp_path))
    assert ended.status == 1
    assert "2 failed" in ended.out
    assert "failed: my_loss.py, line 7: SystemExit: out of ideas" in ended.out


def test_data_are_looked_for_before_the_sweep_begins(tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    (tmp_path / "data" / "cifar-100-python" / "train").write_text("not the training set")
    ended = finish(start(["-m", "seed=1,2", "data.root=data", "data.download=false"], tmp_path))
    assert ended.status == 2
    assert re.fullmatch(r"error: CIFAR-100 damaged \(md5 mismatch\) in .*/data, .* use data=synthetic\n", ended.err)


def test_full_length_schedule_logs_the_benchmarks_learning_rates(tmp_path: Path) -> None:
    """A real 200-epoch run of a small ResNet, on one batch of images."""
    ended = finish(start([*TINY, "schedule=cosine200", "data.train_size=128"], tmp_path))
    assert ended.status == 0, ended
    out = ended.out
    logged = dict(re.findall(r"TRAIN_METRICS: epoch=(\d+) .* lr=(\S+)", out))
    assert list(map(int, logged)) == list(range(10, 201, 10))
    expected = {"160": "0.009549", "170": "0.005450", "180": "0.002447", "190": "0.000616", "200": "0.000000"}
    assert {epoch: logged[epoch] for epoch in expected} == expected
    assert re.search(r"^Final metrics \(resnet20-syntheticmt\): test_acc_resnet20-syntheticmt=\d+\.\d\d$", out, re.M)


def test_analysis_reads_what_the_sweep_wrote(tmp_path: Path) -> None:
    run("-m", *TINY, "seed=1,2", directory=tmp_path)
    command = [sys.executable, "-m", "analysis", "runs/default", "--format", "markdown"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=True)
    assert re.search(r"\| equal +\| .*n=2", ended.stdout)
