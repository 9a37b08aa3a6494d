"""What `python -m mtlsweep` says and does about real jobs of a real SLURM."""

import json
import subprocess
import sys
from pathlib import Path

from test_slurm import command, environment, epochs, jobs, place, pytestmark, slurm, sweep, wait_until

__all__ = ["place", "pytestmark"]


def mtlsweep(*arguments: str, directory: Path) -> str:
    """What it prints, with an exit status of 0."""
    return subprocess.run([sys.executable, "-m", "mtlsweep", *arguments], cwd=directory, text=True, capture_output=True, check=True).stdout


def test_jobs_are_shown_as_slurm_has_them_and_the_studys_are_cancelled_and_no_others(place: Path) -> None:
    held, left = ["+hydra.launcher.sbatch.hold=true"], ["hydra.launcher.wait=false"]
    for arguments in (
        ["seed=1,2", *environment(PACE="1"), "hydra.launcher.cells_per_job=2"],
        ["seed=3,4", *held],
        ["seed=5", 'hydra.launcher.setup=["exit 3"]'],
        ["seed=6", "study=other", *held],
    ):
        ended = command(*sweep(*arguments, *left), directory=place)
        assert ended.status == 0, ended
    wait_until(lambda: epochs(place) >= 1 and "ended as FAILED" in mtlsweep("status", "default", directory=place))
    said = mtlsweep("status", "default", directory=place)
    assert "5 cells: 1 running, 1 queued, 2 held, 1 pending" in said
    assert "1 queued: their job is running" in said
    assert "2 held: JobHeldUser" in said
    assert mtlsweep("logs", "default", "seed", "1", directory=place)
    (record,) = place.glob("runs/other/.sweeps/*/jobs-0.json")
    others = set(json.loads(record.read_text())["jobs"])
    assert "3 SLURM jobs, with 4 cells" in mtlsweep("cancel", "default", "--yes", directory=place)
    wait_until(lambda: queue() & jobs(place).keys() == others)
    assert "1 interrupted" in mtlsweep("status", "default", directory=place)


def queue() -> set[str]:
    """Jobs that have not ended."""
    return set(slurm("squeue", "-h", "-r", "-o", "%i").split())
