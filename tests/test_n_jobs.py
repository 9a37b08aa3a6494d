"""Sweeps in several processes on this machine, and what may happen to these processes."""

import re
import signal
from pathlib import Path

import psutil
import pytest
import torch
from conftest import TINY, CommandLine, finish, start
from disturbed import CELLS, STRATEGY, assert_as_undisturbed, attempts, command, epochs, results, runs, wait_until

from mtlsweep.__main__ import main
from mtlsweep.errors import UserError
from mtlsweep.processes.machine import Share, divide
from mtlsweep.runs import RunDirectory, State

TWO = "hydra.launcher.n_jobs=2"
CPU = {"device": "cpu"}
GPU = {"device": "cuda"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the strategy."""
    (tmp_path / "my_loss.py").write_text(STRATEGY)
    return tmp_path


def states(directory: Path) -> dict[int, State]:
    return {seed: RunDirectory(path).status().state for seed, path in runs(directory).items()}


@pytest.mark.processes
def test_processes_give_the_numbers_of_one_process(place: Path) -> None:
    ended = command(*CELLS, "seed=1,2,3,4,5", TWO, directory=place)
    assert ended.status == 0, ended
    assert "5 cells, 5 to run in 2 processes" in ended.out
    assert "5 completed" in ended.out
    assert "n=5" in ended.out
    for number in range(1, 6):
        assert re.search(rf"^\[{number}/5\] Final metrics", ended.out, re.M)
    assert attempts(place) == dict.fromkeys(range(1, 6), 1)
    assert_as_undisturbed(place)
    assert "5 cells, 0 to run in 2 processes" in command(*CELLS, "seed=1,2,3,4,5", TWO, directory=place).out


@pytest.mark.processes
def test_lanes_of_processes(place: Path) -> None:
    ended = command(*CELLS, "seed=1,2,3,4,5", TWO, "hydra.launcher.lanes=2", directory=place)
    assert ended.status == 0, ended
    assert_as_undisturbed(place)


@pytest.mark.processes
@pytest.mark.parametrize("fault", ["exception", "SIGKILL"])
def test_fault_costs_its_cell_only(place: Path, fault: str) -> None:
    ended = command(*CELLS, "seed=1,2,3,4,5", TWO, directory=place, FAULT=fault, FAULT_ONCE=str(place / "once"))
    assert ended.status == 1, ended
    said = "failed: my_loss.py, line .* out of ideas" if fault == "exception" else r"interrupted: .* process \d+ was ended by SIGKILL$"
    assert re.search(said, ended.out, re.M), ended
    assert results(place) == 4
    again = command(*CELLS, "seed=1,2,3,4,5", TWO, directory=place)
    assert again.status == 0, again
    assert "5 cells, 1 to run" in again.out
    assert sorted(attempts(place).values()) == [1, 1, 1, 1, 2]
    assert_as_undisturbed(place)


@pytest.mark.processes
def test_ctrl_c_ends_all_processes_and_the_same_command_continues(place: Path) -> None:
    process = start([*CELLS, "seed=1,2,3", TWO], place, PACE="0.2")
    wait_until(lambda: len([path for path in runs(place).values() if (path / "checkpoint.pt").exists()]) == 2, process)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.status == 130, ended
    assert "interrupted, 0 of 3 done: the same command continues" in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert states(place) == {1: State.interrupted, 2: State.interrupted, 3: State.pending}
    again = command(*CELLS, "seed=1,2,3", TWO, directory=place)
    assert again.status == 0, again
    assert again.out.count("resuming after epoch") == 2
    assert attempts(place) == {1: 2, 2: 2, 3: 1}
    assert_as_undisturbed(place)


@pytest.mark.processes
def test_cancelling_ends_the_sweep_which_would_start_another_process(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start([*CELLS, "seed=1,2,3", TWO], place, PACE="0.2")
    wait_until(lambda: State.running in states(place).values(), process)
    monkeypatch.chdir(place)
    assert main(["cancel", "default", "--yes"]) == 0
    ended = finish(process)
    assert ended.status == 130, ended
    assert "interrupted, 0 of 3 done" in ended.out


@pytest.mark.processes
def test_parent_that_is_killed_loses_nothing_and_its_processes_end(place: Path) -> None:
    process = start([*CELLS, "seed=1,2,3,4,5,6", TWO], place, PACE="0.1")
    wait_until(lambda: results(place) >= 2 and epochs(place) >= 2, process)
    children = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert len(children) == 2
    psutil.wait_procs(children, timeout=60)
    done = {seed for seed, state in states(place).items() if state is State.completed}
    assert len(done) >= 2
    assert State.running not in states(place).values()
    again = command(*CELLS, "seed=1,2,3,4,5,6", TWO, directory=place)
    assert again.status == 0, again
    assert f"6 cells, {6 - len(done)} to run" in again.out
    assert all(count == 1 for seed, count in attempts(place).items() if seed in done)
    assert_as_undisturbed(place)


@pytest.mark.processes
def test_same_sweep_twice_at_once_runs_every_cell_once(place: Path) -> None:
    processes = [start([*CELLS, "seed=1,2,3,4", TWO], place, PACE="0.1") for _ in range(2)]
    for process in processes:
        ended = finish(process)
        assert ended.status == 0, ended
    assert attempts(place) == dict.fromkeys(range(1, 5), 1)
    assert_as_undisturbed(place)


@pytest.mark.processes
def test_edits_of_the_users_file_change_nothing_that_waits(place: Path) -> None:
    process = start([*CELLS, "seed=1,2,3", TWO], place, PACE="0.1")
    wait_until(lambda: len(runs(place)) == 3, process)
    (place / "my_loss.py").write_text("raise SystemExit('edited')")
    ended = finish(process)
    assert ended.status == 0, ended
    assert_as_undisturbed(place)


@pytest.mark.processes
def test_processes_that_cannot_start_are_said_once(place: Path) -> None:
    (place / "sitecustomize.py").write_text("import os, sys\n'mtlsweep.processes' in sys.orig_argv and os._exit(7)")
    ended = command(*CELLS, "seed=1,2", TWO, directory=place, PYTHONPATH=str(place))
    assert ended.status == 1, ended
    assert "2 cells in" in ended.out
    assert "no process could be started that would run it (process" in ended.out
    assert "ended with exit status 7" in ended.out


@pytest.mark.parametrize("n_jobs", ["0", "many", "1.5"])
def test_a_wrong_number_of_processes_is_one_line(cli: CommandLine, n_jobs: str) -> None:
    ended = cli("-m", *TINY, f"hydra.launcher.n_jobs={n_jobs}")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert f"hydra.launcher.n_jobs={n_jobs}: must be a whole number of at least 1, or auto" in ended.err


# How the machine is divided


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Three GPUs and eight processors."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_each_process_has_a_gpu_and_a_part_of_the_processors(machine: pytest.MonkeyPatch) -> None:
    assert divide("auto", [GPU]) == [Share(2, "0"), Share(2, "1"), Share(2, "2")]
    assert divide(2, [GPU]) == [Share(4, "0"), Share(4, "1")]
    assert divide(4, [GPU]) == [Share(2, "0"), Share(2, "1"), Share(2, "2"), Share(2, "0")]


def test_one_process_is_this_one(machine: pytest.MonkeyPatch) -> None:
    assert divide(1, [GPU]) == [Share(8)]
    assert divide("auto", [CPU]) == [Share(8)]


def test_processors_are_divided_and_gpus_left_alone(machine: pytest.MonkeyPatch) -> None:
    assert divide(16, [CPU]) == [Share(1)] * 16
    machine.setenv("OMP_NUM_THREADS", "8")
    assert divide(2, [CPU]) == [Share(8)] * 2


def test_gpus_are_named_as_this_process_sees_them(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-1a2b ,6")
    assert [share.gpu for share in divide("auto", [GPU])] == ["4", "GPU-1a2b", "6"]
    assert divide("auto", [GPU])[1].environment == {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "GPU-1a2b"}


def test_a_gpu_by_its_number_is_refused(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"engine.device=cuda:1: with hydra.launcher.n_jobs each process has a GPU of its own"):
        divide(2, [GPU, {"device": "cuda:1"}])
    assert divide(1, [{"device": "cuda:1"}]) == [Share(8)]
