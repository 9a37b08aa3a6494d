"""What becomes of a sweep when its files are damaged, its disk is full or may not be written; on this machine and on a real SLURM."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Ended
from disturbed import CELLS, STRATEGY, assert_as_undisturbed, attempts, command, results, runs, undisturbed
from test_slurm import SLURM, environment, needs_slurm, slurm
from trained import metrics

pytestmark = pytest.mark.processes

LAUNCHERS = [
    pytest.param([], id="local"),
    pytest.param(["hydra.launcher.n_jobs=2"], id="processes"),
    pytest.param(SLURM, id="slurm", marks=[pytest.mark.slurm, needs_slurm]),
]
Disk = Callable[[str], None]


def sweep(launcher: Sequence[str], seeds: str, directory: Path, **variables: str) -> Ended:
    """The variables are those of the processes that train."""
    given = environment(**variables) if launcher is SLURM else []
    return command(*CELLS, seeds, *launcher, *given, directory=directory, **({} if given else variables))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the strategy."""
    (tmp_path / "my_loss.py").write_text(STRATEGY)
    return tmp_path


@pytest.fixture
def halfway(place: Path) -> Path:
    """Seeds 1 and 6 are completed; the process that ran 2 to 5 side by side was killed when each had a checkpoint."""
    lanes = ["seed=2,3,4,5", "hydra.launcher.lanes=4"]
    assert command(*CELLS, *lanes, directory=place, FAULT="SIGKILL", FAULT_ONCE=str(place / "once")).status == -9
    assert command(*CELLS, "seed=1,6", directory=place).status == 0
    assert sum((path / "checkpoint.pt").exists() for path in runs(place).values()) == 4
    return place


DAMAGED = {1: "result.json", 2: "metrics.csv", 3: "checkpoint.pt", 4: "run.json", 5: "attempts/1.json"}


@pytest.mark.parametrize("launcher", LAUNCHERS[1:])
@pytest.mark.parametrize("whole", [0.0, 0.6])
def test_truncated_file_counts_as_none(halfway: Path, launcher: list[str], whole: float) -> None:
    for seed, path in runs(halfway).items():
        if seed in DAMAGED:
            content = (path / DAMAGED[seed]).read_bytes()
            (path / DAMAGED[seed]).write_bytes(content[: int(whole * len(content))])
    ended = sweep(launcher, "seed=1,2,3,4,5,6", directory=halfway)
    assert ended.status == 0, ended
    assert "6 cells, 5 to run" in ended.out
    assert "6 completed" in ended.out
    assert attempts(halfway) == {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 1}
    logs = {seed: (path / "run.log").read_text() for seed, path in runs(halfway).items()}
    assert {seed for seed, log in logs.items() if "resuming after epoch" in log} == {2, 4, 5}
    assert "checkpoint.pt is damaged" in logs[3]
    assert_as_undisturbed(halfway)


@pytest.mark.parametrize("launcher", LAUNCHERS[::2])
def test_another_schema_version_is_refused_before_anything_runs(halfway: Path, launcher: list[str]) -> None:
    for name in ("run.json", "result.json"):
        path = runs(halfway)[1] / name
        content = path.read_text()
        path.write_text(json.dumps(json.loads(content) | {"schema": 99}))
        refused = sweep(launcher, "seed=1,2", directory=halfway)
        assert refused.status == 2, refused
        assert re.fullmatch(r"error: .*: written by another version of mtlsweep \(schema 99, this one reads \d+\)\n", refused.err)
        assert sorted(attempts(halfway).values()) == [1] * 6
        path.write_text(content)
    ended = sweep(launcher, "seed=1,2,6", directory=halfway)
    assert ended.status == 0, ended
    assert "3 cells, 1 to run" in ended.out
    assert attempts(halfway) == {1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1}
    assert metrics(runs(halfway)[2]) == undisturbed()[2]


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    """A disk of the study's own, a few megabytes large, and a way to mount it again with other options."""
    if os.geteuid():
        pytest.skip("not root: mounting needs it")
    runs_dir = place / "runs"
    runs_dir.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(runs_dir)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(runs_dir)], check=True)

    yield remount
    subprocess.run(["umount", "--lazy", str(runs_dir)], check=True)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_full_disk_is_said_and_costs_what_was_not_finished(place: Path, disk: Disk, launcher: list[str]) -> None:
    filler = place / "runs" / "filler"
    ended = sweep(launcher, "seed=1,2,3", directory=place, FAULT=str(filler), FAULT_ONCE=str(place / "once"))
    assert ended.status == 1, ended
    assert "Traceback" not in ended.out + ended.err
    # A cell whose end found no room either is known by its job's; what a failed write leaves free may be enough for it.
    assert re.search("No space left on device" + r"|job \S+ ended as FAILED" * (launcher is SLURM), ended.out)
    if launcher is SLURM:
        jobs = {job for path in place.glob("runs/*/.sweeps/*/jobs-*.json") for job in json.loads(path.read_text())["jobs"]}
        assert "FAILED" in slurm("sacct", "-n", "-X", "-P", "-o", "State", "-j", ",".join(jobs))
    filler.unlink()
    done = results(place)
    before = attempts(place)
    assert done < 3
    again = sweep(launcher, "seed=1,2,3", directory=place)
    assert again.status == 0, again
    assert f"3 cells, {3 - done} to run" in again.out
    assert sum(attempts(place).values()) == sum(before.values()) + 3 - done
    assert_as_undisturbed(place)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_study_that_may_not_be_written_is_one_line(place: Path, disk: Disk, launcher: list[str]) -> None:
    assert command(*CELLS, "seed=1", directory=place).status == 0
    disk("ro")
    refused = sweep(launcher, "seed=1,2,3", directory=place)
    assert refused.status == 2, refused
    assert re.fullmatch(r"error: .*Read-only file system.*\n", refused.err), refused
    disk("rw")
    ended = sweep(launcher, "seed=1,2,3", directory=place)
    assert ended.status == 0, ended
    assert "3 cells, 2 to run" in ended.out
    assert attempts(place) == {1: 1, 2: 1, 3: 1}
    assert_as_undisturbed(place)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_file_where_the_study_should_be_is_one_line(place: Path, launcher: list[str]) -> None:
    (place / "runs").mkdir()
    (place / "runs" / "default").write_text("")
    refused = sweep(launcher, "seed=1,2,3", directory=place)
    assert refused.status == 2, refused
    assert re.fullmatch(r"error: .*runs/default.*\n", refused.err), refused
    (place / "runs" / "default").unlink()
    assert sweep(launcher, "seed=1,2,3", directory=place).status == 0
    assert_as_undisturbed(place)
