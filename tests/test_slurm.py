"""Sweeps on a real SLURM with real processes, and everything that may happen to them there. `make test-slurm` starts it and runs these."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, finish, start
from disturbed import CELLS, STRATEGY, assert_as_undisturbed, attempts, command, epochs, results, runs, wait_until
from test_runs import cell

from mtlsweep.frozen import FrozenCell
from mtlsweep.slurm.options import Options
from mtlsweep.slurm.submit import submit


def _missing() -> str:
    """Why these tests cannot run here; empty where they can."""
    if not shutil.which("sbatch"):
        return "no sbatch here: make test-slurm installs and starts a SLURM on one machine (root on Debian)"
    if os.geteuid():
        return "not root: the one-machine SLURM of the tests needs it"
    answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    return "" if re.search(r"^ClusterName\s*= slurmbox$", answer.stdout, re.M) else "the one-machine SLURM is not up: make test-slurm"


needs_slurm = pytest.mark.skipif(bool(_missing()), reason=_missing())
pytestmark = [pytest.mark.slurm, pytest.mark.processes, needs_slurm]

SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus=1", "hydra.launcher.memory=1.5"]


def sweep(*arguments: str) -> list[str]:
    """A command's arguments."""
    return [*CELLS, *SLURM, *arguments]


def environment(**variables: str) -> list[str]:
    """The arguments that give the jobs these variables."""
    return [f"+hydra.launcher.environment.{name}={value}" for name, value in variables.items()]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs(directory: Path) -> dict[str, list[str]]:
    """All jobs that were submitted, and their run directories."""
    found: dict[str, list[str]] = {}
    for path in directory.glob("runs/*/.sweeps/*/jobs-*.json"):
        found |= json.loads(path.read_text())["jobs"]
    return found


def job(directory: Path) -> str:
    """The one job."""
    (found,) = jobs(directory)
    return found


def states(directory: Path) -> dict[str, str]:
    """How the jobs ended, in SLURM's words."""
    listed = slurm("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(jobs(directory)))
    return {line.split("|")[0]: line.split("|")[1].split()[0] for line in listed.splitlines()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory with the strategy; its jobs end with the test, and lost nodes are there again."""
    (tmp_path / "my_loss.py").write_text(STRATEGY)
    yield tmp_path
    subprocess.run(["scontrol", "update", "nodename=ALL", "state=resume"], capture_output=True)  # refused for those that are there
    if jobs(tmp_path):
        subprocess.run(["scancel", *{name.partition("_")[0] for name in jobs(tmp_path)}])


def test_sweep_is_followed_to_its_table(place: Path) -> None:
    """Submitted from within another job, whose variables must do no harm."""
    leaked = {"JOB_ID": "999", "ARRAY_JOB_ID": "999", "ARRAY_TASK_ID": "7", "RESTART_COUNT": "5", "MEM_PER_CPU": "1", "NTASKS": "3"}
    outer = {f"SLURM_{name}": value for name, value in leaked.items()} | {"SUBMITIT_EXECUTOR": "local"}
    ended = command(*sweep("seed=1,2,3", "hydra.launcher.cells_per_job=2"), directory=place, **outer)
    assert ended.status == 0, ended
    assert "3 completed" in ended.out
    assert "n=3" in ended.out
    assert_as_undisturbed(place)
    assert sorted(states(place).values()) == ["COMPLETED", "COMPLETED"]
    attempt = json.loads((runs(place)[1] / "attempts" / "1.json").read_text())
    (submission,) = place.glob("runs/default/.sweeps/*/jobs-0.json")
    assert json.loads(submission.read_text())["code"]["commit"] == attempt["provenance"]["commit"]
    assert attempt["owner"]["slurm_restarts"] == 0
    again = command(*sweep("seed=1,2,3"), directory=place)
    assert "3 cells, 0 to run, 0 in the queue" in again.out


SAID = {
    "exception": "RuntimeError: out of ideas (traceback in",
    "SIGKILL": "ended as FAILED (log",
    "memory": "ended as OUT_OF_MEMORY, hydra.launcher.memory gives it more (log",
}


@pytest.mark.parametrize("fault", SAID)
def test_fault_in_a_cell_costs_this_cell_and_its_job_says_so(place: Path, fault: str) -> None:
    """(A SLURM that confines jobs to cgroups says OUT_OF_MEMORY; this one kills them itself and calls that FAILED.)"""
    ended = command(*sweep("seed=1,2,3", *environment(FAULT=fault, FAULT_ONCE=str(place / "once"))), directory=place)
    assert ended.status == 1, ended
    assert sorted(states(place).values()) == ["COMPLETED", "COMPLETED", "FAILED"]
    assert SAID[fault] in ended.out
    again = command(*sweep("seed=1,2,3"), directory=place)
    assert again.status == 0
    assert "3 cells, 1 to run" in again.out
    assert sorted(attempts(place).values()) == [1, 1, 2]
    assert_as_undisturbed(place)


def test_cancelled_job_stays_cancelled_and_the_next_command_continues(place: Path) -> None:
    process = start(sweep("seed=1", *environment(PACE="0.4")), place)
    wait_until(lambda: epochs(place) >= 2, process)
    slurm("scancel", job(place))
    ended = finish(process)
    assert ended.status == 1, ended
    assert re.search(r"interrupted: .*: job \d+ ended as CANCELLED", ended.out)
    assert states(place) == {job(place): "CANCELLED"}
    assert command(*sweep("seed=1"), directory=place).status == 0
    assert "resuming after epoch" in (runs(place)[1] / "run.log").read_text()
    assert_as_undisturbed(place)


def requeue(directory: Path) -> None:
    slurm("scontrol", "requeue", job(directory))


def preempt(directory: Path) -> None:
    """A job of a partition with precedence asks for the whole cluster."""
    slurm("sbatch", "--partition=normal", "--nodes=4", "--exclusive", "--mem=0", "--time=1", "--output=/dev/null", "--wrap=true")


def lose_node(directory: Path) -> None:
    """Drained as well, or its slurmd, which lives, would offer it again at once."""
    node = slurm("squeue", "-h", "-j", job(directory), "-o", "%N").strip()
    for state in ("drain", "down"):
        slurm("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")


def restarts(directory: Path) -> int:
    """How often SLURM has started the job again."""
    (count,) = re.findall(r" Restarts=(\d+) ", slurm("scontrol", "show", "job", job(directory)))
    return int(count)


# The second: of a step, in seconds. A preempted job has half a minute left.
@pytest.mark.parametrize(("disturb", "pace"), [(requeue, 1), (preempt, 3), (lose_node, 1)])
def test_job_that_slurm_starts_again_continues_where_it_was(place: Path, disturb: Callable[[Path], None], pace: float) -> None:
    process = start(sweep("seed=1", *environment(PACE=str(pace)), "hydra.launcher.partition=scavenge"), place)
    wait_until(lambda: epochs(place) >= 2, process)
    disturb(place)
    ended = finish(process)
    assert ended.status == 0, ended
    assert "1 completed" in ended.out
    if disturb is preempt:  # by a busy SLURM perhaps once more
        assert 2 <= attempts(place)[1] <= 1 + restarts(place)
    else:
        assert attempts(place) == {1: 2}
    assert "resuming after epoch" in (runs(place)[1] / "run.log").read_text()
    assert_as_undisturbed(place)


def test_job_whose_time_is_up_starts_again_by_itself(place: Path) -> None:
    """The limit is a minute, and SLURM sends the signal up to half a minute early; one cell has ended by then, the other has not."""
    limits = ["hydra.launcher.time=1", "hydra.launcher.signal_seconds=10", "hydra.launcher.cells_per_job=2"]
    ended = command(*sweep("seed=1,2", *environment(PACE="1.4"), *limits), directory=place)
    assert ended.status == 0, ended
    assert "2 completed" in ended.out
    (log,) = place.glob("runs/default/.sweeps/*/jobs/*_log.out")
    assert f"time is up: job {job(place)} starts again" in log.read_text()
    assert "resuming after epoch" in log.read_text()
    assert_as_undisturbed(place)


def test_parent_that_is_killed_loses_nothing(place: Path) -> None:
    arguments = sweep("seed=1,2,3,4,5,6", "hydra.launcher.cells_per_job=3", *environment(PACE="0.15"))
    process = start(arguments, place)
    wait_until(lambda: results(place) >= 2, process)
    process.kill()
    process.communicate()
    ended = command(*arguments, directory=place)
    assert ended.status == 0, ended
    assert re.search(r"6 cells, 0 to run, \d in the queue", ended.out)
    assert "6 completed" in ended.out
    assert attempts(place) == dict.fromkeys(range(1, 7), 1)
    assert_as_undisturbed(place)


def test_same_sweep_submitted_twice_at_once_runs_every_cell_once(place: Path) -> None:
    processes = [start(sweep("seed=1,2,3", *environment(PACE="0.3")), place) for _ in range(2)]
    for process in processes:
        ended = finish(process)
        assert ended.status == 0, ended
        assert re.search(r"^3 cells in .*: (\d (completed|taken)(, )?)+$", ended.out, re.M), ended
    assert attempts(place) == {1: 1, 2: 1, 3: 1}
    assert_as_undisturbed(place)


def test_what_waits_in_the_queue_does_not_change_with_the_files(place: Path) -> None:
    for name in ("conf", "run.py"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, place / name)
    arguments = sweep("seed=1", "hydra.launcher.wait=false", "+hydra.launcher.sbatch.hold=true")
    submitted = subprocess.run([sys.executable, "run.py", *arguments], cwd=place, text=True, capture_output=True)
    assert submitted.returncode == 0, submitted
    (place / "my_loss.py").write_text("raise SystemExit('edited')")
    for path in (place / "conf").glob("*/*.yaml"):
        path.write_text("edited: true\n")
    slurm("scontrol", "release", job(place))
    wait_until(lambda: (runs(place)[1] / "result.json").exists())
    assert_as_undisturbed(place)


def test_grid_larger_than_an_array_becomes_several(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlsweep.slurm.queue.largest_array", lambda: 2)
    cells = [FrozenCell(cell(place, seed=seed), place, None) for seed in range(9)]
    options = Options(cpus=1, memory=1, cells_per_job=2, parallelism=3, sbatch={"hold": True})
    arrays = list(submit(cells, options, place, "large"))
    try:
        assert [[len(group) for group in array.values()] for array in arrays] == [[2, 2], [2, 2], [1]]
        assert [frozen for array in arrays for group in array.values() for frozen in group] == cells
        first = next(iter(arrays[0])).partition("_")[0]
        assert "ArrayTaskThrottle=1" in slurm("scontrol", "show", "job", first)
    finally:
        slurm("scancel", *(name.partition("_")[0] for array in arrays for name in array))


def test_submitted_sweep_is_left_and_found_again(place: Path) -> None:
    arguments = sweep("seed=1,2", "+hydra.launcher.sbatch.hold=true")
    left = command(*arguments, "hydra.launcher.wait=false", directory=place)
    assert left.status == 0, left
    array = next(iter(jobs(place))).partition("_")[0]
    assert f"as SLURM job {array}, 2 array tasks" in left.out
    assert f"scancel {array}" in left.out
    status = subprocess.run([sys.executable, "-m", "mtlsweep", "status", "default"], cwd=place, text=True, capture_output=True)
    assert "2 cells: 2 held" in status.stdout
    process = start(arguments, place)
    assert process.stdout
    assert process.stdout.readline() == "2 cells, 0 to run, 2 in the queue\n"
    assert process.stdout.readline() == "following the jobs; Ctrl-C leaves them running\n"
    assert re.fullmatch(rf"job {array}_[01] waits: JobHeldUser \(scontrol release {array}\)\n", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.status == 130, ended
    assert "the jobs go on; the same command follows them again" in ended.out
    assert len(slurm("squeue", "-h", "-r", "-j", array).splitlines()) == 2


def test_refused_jobs_are_one_line(place: Path) -> None:
    ended = command(*sweep("seed=1", "hydra.launcher.partition=nowhere"), directory=place)
    assert ended.status == 2, ended
    assert re.fullmatch(r"error: SLURM refuses the jobs: .*[Ii]nvalid partition.*\n", ended.err), ended
