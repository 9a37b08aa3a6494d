"""What `python -m mtlsweep` does with studies: status, logs, cancel, clean. A stand-in for squeue says what SLURM has in its queue."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from studies import Grid, complete, fail, interrupt, log_epochs, make_cell, prepare

from analysis.find import find_study as analysis_find_study
from mtlsweep.__main__ import main
from mtlsweep.errors import UserError
from mtlsweep.pipe import exit_with
from mtlsweep.runs import Cell, Claim, RunDirectory, SweepRecord
from mtlsweep.runs.owner import STALE_SECONDS, Owner, answered, is_gone, process
from mtlsweep.slurm import queue
from mtlsweep.slurm.submission import Submission
from mtlsweep.study import watch
from mtlsweep.study.cost import Cost
from mtlsweep.study.find import find_cells, find_study
from mtlsweep.study.survey import Survey

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty study, `runs/s` below the current directory; the terminal is wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Path("runs") / "s"


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts jobs, `id|SLURM_JOB_ID|state|reason|name`, into the queue that SLURM tells of. The path returned has what scancel was told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    told = tmp_path / "cancelled"

    def script(name: str, text: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)

    def put(*jobs: str) -> Path:
        script("squeue", f"test -e {told} || cat <<'END'\n" + "\n".join(jobs) + "\nEND")
        script("scancel", f'echo "$@" >> {told}')
        script("sacct", "printf '8|OUT_OF_MEMORY\\n'")
        return told

    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return put


def submit(job: str, *cells: Cell) -> Path:
    """Record a sweep that has given a job these cells; its folder."""
    folder = cells[0].study_dir / ".sweeps" / f"then-{job}"
    SweepRecord.write(folder, cells)
    Submission.begin(folder, cells[0].study_dir.name).add({job: [str(cell.directory.relative_to(cell.study_dir)) for cell in cells]})
    return folder


@pytest.fixture
def running() -> Iterator[Callable[[Cell], Path]]:
    """Runs a cell in this process until the test ends; its directory."""
    claims: list[Claim] = []

    def run(cell: Cell) -> Path:
        claims.append(Claim(prepare(cell)))
        claims[-1].__enter__()
        return cell.directory

    yield run
    for claim in claims:
        claim.__exit__(None, None, None)


def say(capsys: Capture, *arguments: str, status: int = 0) -> str:
    """What a command prints, on either stream."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: main(arguments))
    assert ended.value.code == status
    return "".join(capsys.readouterr())


# Status


def test_status_counts_every_cell_and_says_what_went_wrong_and_where(study: Path, capsys: Capture) -> None:
    grid = Grid(study)
    said = say(capsys, "status", "s")
    assert f"{len(grid.best) + 3} completed, 3 diverged, 1 pending, 1 interrupted, 1 failed, 6 damaged" in said
    failed = grid.cell("resnet56", "equal", 42).directory
    assert f"1 failed: RuntimeError: CUDA out of memory\n  resnet56 equal smoke seed 42: {failed / 'run.log'}\n" in said
    for path in grid.broken:
        assert f"damaged: {path}" in said


def test_record_of_a_sweep_that_cannot_be_read_hides_no_run(study: Path, capsys: Capture) -> None:
    """A folder is what even root cannot read as a file."""
    fail(make_cell(study), "out of ideas")
    unreadable = study / ".sweeps" / "1" / "cells-0.json"
    unreadable.mkdir(parents=True)
    said = say(capsys, "status", "s")
    assert "1 failed, 1 damaged" in said
    assert f"damaged: {unreadable}" in said
    assert "removed: 1 cell" in say(capsys, "clean", "s", "--yes")


def test_file_that_cannot_be_read_is_one_line(study: Path, capsys: Capture) -> None:
    unreadable = submit("7", make_cell(study)) / "jobs-0.json"
    unreadable.unlink()
    unreadable.mkdir()
    for verb in ("status", "cancel", "clean"):
        assert say(capsys, verb, "s", status=2) == f"mtlsweep: {unreadable}: Is a directory\n"


def test_running_cells_are_shown_with_speed_and_time_left(
    study: Path, running: Callable[[Cell], Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlsweep.study.page.console.width", 200)
    path = running(make_cell(study, loss="dwa", schedule__epochs=10))
    rows = [f"{epoch},{10.0 + epoch},60" for epoch in (1, 2)]
    (path / "metrics.csv").write_text("\n".join(["epoch,test_fine_acc,seconds", *rows]) + "\n")
    said = say(capsys, "status", "s").splitlines()
    where = f"{Owner.here().host.partition('.')[0]} pid {os.getpid()}"
    assert " ".join(said[2].split()) == f"resnet20 dwa seed 42 2/10 12.00 60.0 8 min 00 s {where}"
    assert said[-1] == "2 min 00 s spent; about 8 min 00 s of device time to come, in 1 cell"


def test_damaged_metrics_of_a_running_cell_are_no_metrics(study: Path, running: Callable[[Cell], Path], capsys: Capture) -> None:
    (running(make_cell(study)) / "metrics.csv").write_text("epoch,test_fine_acc\n1,\n2")
    assert "0/3" in say(capsys, "status", "s")


def test_cost_of_the_rest_is_learned_from_what_has_ended(study: Path) -> None:
    """Of the same strategy first, then of the same model; another length counts by its images."""
    complete(make_cell(study, loss="equal"), 50.0, 50.0, seconds=100.0)
    complete(make_cell(study, loss="dwa"), 50.0, 50.0, seconds=200.0)
    for changes in ({"loss": "dwa"}, {"loss": "haw"}, {"schedule__epochs": 6}, {"model": "vgg16bn"}):
        prepare(make_cell(study, seed=1, **changes))
    cost = Cost.of(Survey.of(study).entries)
    assert (cost.spent, cost.expected, cost.left, cost.unknown) == (300.0, 200.0 + 150.0 + 300.0, 4, 1)


def test_interrupted_cell_costs_its_missing_epochs(study: Path) -> None:
    path = interrupt(make_cell(study, schedule__epochs=10))
    (path / "metrics.csv").write_text("epoch,seconds,device_seconds\n1,9,2\n2,9,4\n")
    cost = Cost.of(Survey.of(study).entries)
    assert (cost.spent, cost.expected) == (6.0, 24.0)


def test_jobs_that_wait_are_told_from_jobs_that_are_held(study: Path, squeue: Callable[..., Path], capsys: Capture) -> None:
    cells = [make_cell(study, seed=seed) for seed in range(5)]
    prepare(cells[0])
    submit("7_0", *cells[:2])
    submit("7_1", cells[2])
    submit("8", cells[3])
    submit("9", cells[4])
    squeue("7_0|7|PENDING|Priority|s", "7_1|7|PENDING|JobHeldUser|s", "9|9|PENDING|Priority|another study of mine")
    said = say(capsys, "status", "s")
    assert "5 cells: 2 queued, 1 held, 2 pending" in said
    assert "2 queued: Priority (job 7)" in said
    assert "1 held: JobHeldUser (job 7; scontrol release 7)" in said
    assert "1 pending: its job ended as OUT_OF_MEMORY, hydra.launcher.memory gives it more\n  resnet20 equal seed 3\n" in said


def test_study_has_its_jobs_under_whatever_name_it_is_looked_at(study: Path, squeue: Callable[..., Path], capsys: Capture) -> None:
    """Through a link, and after it was renamed; of jobs whose record does not say their name, through a link."""
    cell = make_cell(study)
    record = submit("7", cell) / "jobs-0.json"
    squeue("7|7|PENDING|Priority|s")
    study.rename(study.with_name("moved"))
    study.symlink_to("moved")
    for name in ("s", "moved"):
        assert "1 cell: 1 queued" in say(capsys, "status", name)
        assert "nothing to remove" in say(capsys, "clean", name, "--yes")
    record.write_text(json.dumps({"jobs": json.loads(record.read_text())["jobs"]}))
    assert "1 cell: 1 queued" in say(capsys, "status", "s")
    assert "end them?" in say(capsys, "cancel", "s", status=2)


def test_silent_slurm_is_named(study: Path, squeue: Callable[..., Path], capsys: Capture, tmp_path: Path) -> None:
    submit("7", make_cell(study))
    squeue()
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert "SLURM does not answer: what is queued is not known" in say(capsys, "status", "s")
    for verb in ("cancel", "clean"):
        assert "SLURM does not answer" in say(capsys, verb, "s", "--yes", status=2)


def test_slurm_is_asked_once_about_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a job that is not listed, a sign of life is as good as an answer only while it is fresh."""
    monkeypatch.setattr("mtlsweep.runs.owner._slurm_job_ended", lambda job, age: pytest.fail(f"asked about {job}") if job != "3" else None)
    owner = replace(Owner.here(), host="elsewhere", slurm_job="1")
    with answered({"1": "RUNNING", "2": "PENDING"}):
        assert not is_gone(owner, 2 * STALE_SECONDS)
        assert is_gone(replace(owner, slurm_job="2"), 0)
        assert is_gone(replace(owner, slurm_job="4"), 2 * STALE_SECONDS)
        assert not is_gone(replace(owner, slurm_job="3"), 0)


def test_watch_ends_when_nothing_is_running_or_queued(
    study: Path, squeue: Callable[..., Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell(study)
    submit("7", cell)
    squeue("7|7|PENDING|Priority|s")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            squeue()
            complete(cell, 50.0, 50.0)

    monkeypatch.setattr(watch, "sleep", wait)
    said = say(capsys, "status", "s", "--watch").splitlines()
    assert [line.partition(" ")[2] for line in said[:2]] == ["1 cell: 1 queued", "1 cell: 1 completed"]
    assert said[2] == "1 cell: 1 completed"
    assert min(waits) >= queue.POLL_SECONDS


def test_ctrl_c_leaves_a_watch(study: Path, running: Callable[[Cell], Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    running(make_cell(study))

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "sleep", stop)
    assert say(capsys, "status", "s", "--watch", status=130).endswith("not known yet\n")


def test_what_is_no_study_is_refused(study: Path, capsys: Capture) -> None:
    complete(make_cell(study), 50.0, 50.0)
    assert find_study("s") == find_study("runs/s") == study
    for name in ("runs", "nowhere"):
        for verb in ("status", "cancel", "clean"):
            assert name in say(capsys, verb, name, status=2)


def test_study_may_have_the_name_of_another_folder(study: Path, capsys: Capture) -> None:
    complete(make_cell(study.with_name("data")), 50.0, 50.0)
    Path("data").mkdir()
    Path("conf").mkdir()
    assert find_study("data") == analysis_find_study("data") == Path("runs/data")
    assert "conf: not a study" in say(capsys, "status", "conf", status=2)


# Logs


def test_cell_is_found_by_words_of_its_name(study: Path) -> None:
    for loss in ("haw", "haw_reg"):
        for seed in (4, 42):
            prepare(make_cell(study, loss=loss, seed=seed))
    survey = Survey.of(study)
    assert [entry.name for entry in find_cells(survey, ["haw", "seed 4"])] == ["resnet20 haw seed 4"]
    assert len(find_cells(survey, ["reg"])) == 2
    assert len(find_cells(survey, ["haw", "synthetic"])) == 2
    with pytest.raises(UserError, match="reg: no such cell with these whole words in its name in runs/s; it has\n  resnet20 haw seed 4"):
        find_cells(survey, ["reg"], parts=False)


def test_log_is_that_of_the_run_or_of_its_job(study: Path, squeue: Callable[..., Path], capsys: Capture) -> None:
    squeue()
    directory = fail(make_cell(study, seed=1), "out of ideas")
    assert "RuntimeError: out of ideas" in say(capsys, "logs", str(directory))
    waiting = make_cell(study, seed=2)
    log = submit("8", waiting) / "jobs" / "8_0_log.out"
    assert "has no log, it is pending" in say(capsys, "logs", "s", "seed", "2", status=2)
    log.parent.mkdir()
    log.write_text("one\ntwo\nthree\n")
    assert say(capsys, "logs", "s", "seed", "2", "--lines", "2").startswith("two\nthree\n==> ")
    assert "which of these 2?" in say(capsys, "logs", "s", status=2)


def test_log_is_found_through_links(study: Path, capsys: Capture) -> None:
    """To the run, and to the folder that studies are kept in."""
    directory = fail(make_cell(study), "out of ideas")
    Path("link").symlink_to(directory)
    Path("elsewhere").symlink_to("runs")
    for path in ("link", str(Path("elsewhere", *directory.parts[1:]))):
        assert "RuntimeError: out of ideas" in say(capsys, "logs", path)


def test_log_is_followed_until_the_run_has_ended(study: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(study)
    claim = Claim(prepare(cell))
    claim.__enter__()
    claim.log("first")
    steps = iter(["second", "third"])

    def wait(seconds: float) -> None:
        line = next(steps, None)
        if line:
            claim.log(line)
        else:
            claim.__exit__(None, None, None)
            (cell.directory / "attempts" / "1.json").unlink()
            complete(cell, 50.0, 50.0)

    monkeypatch.setattr("mtlsweep.study.logs.sleep", wait)
    said = say(capsys, "logs", "s", "equal", "--follow")
    assert [line.rpartition(" ")[2] for line in said.splitlines()[:3]] == ["first", "second", "third"]


# Cancel


def test_exactly_the_studys_jobs_are_cancelled(study: Path, squeue: Callable[..., Path], capsys: Capture) -> None:
    submit("7_0", make_cell(study, seed=1), make_cell(study, seed=2))
    submit("8", make_cell(study, seed=3))
    told = squeue("7_0|7|PENDING|Priority|s", "7_1|7|PENDING|Priority|s", "8|8|RUNNING|None|other", "9|9|RUNNING|None|s")
    refused = say(capsys, "cancel", "s", status=2)
    assert "Nobody can be asked here" in refused
    assert not told.exists()
    said = say(capsys, "cancel", "s", "--yes")
    assert "1 SLURM job, with 2 cells: 7 (1 of its tasks)" in said
    assert told.read_text() == "7_0\n"
    assert "nothing of it is in SLURM's queue" in say(capsys, "cancel", "s")


def test_finished_cell_that_is_to_be_done_again_waits_for_it(study: Path, squeue: Callable[..., Path], capsys: Capture) -> None:
    """Its result is no result any more that a sweep would take, and is kept all the same until another one begins."""
    cell = make_cell(study)
    directory = RunDirectory(complete(cell, 50.0, 50.0))
    complete(make_cell(study, seed=1), 50.0, 50.0)
    submit("7", cell)
    squeue("7|7|PENDING|Priority|s")
    directory.ask_redo()
    said = say(capsys, "status", "s")
    assert "1 queued: Priority (job 7)" in said
    assert "2 cells: 1 completed, 1 queued" in said
    assert "of device time to come, in 1 cell" in said
    assert "left alone" in say(capsys, "clean", "s", "--completed", "--yes")
    assert (directory / "result.json").exists()
    assert "1 SLURM job, with 1 cell: 7" in say(capsys, "cancel", "s", "--yes")
    assert "1 cell: 1 redo" in say(capsys, "status", "s")
    assert "nothing to remove" in say(capsys, "clean", "s", "--yes")
    say(capsys, "clean", "s", "--completed", "--yes")
    assert not directory.path.exists()


def test_what_a_user_has_set_for_squeue_hides_no_job(tmp_path: Path, squeue: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    squeue()
    (tmp_path / "bin" / "squeue").write_text('#!/bin/sh\necho "7|7|PENDING|$SQUEUE_PARTITION$SQUEUE_STATES|s"\n')
    monkeypatch.setenv("SQUEUE_PARTITION", "short")
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    assert queue.listed() == {"7": queue.Job("7", "7", "PENDING", "", "s")}


@pytest.mark.parametrize(("log", "how"), [("", "unknown"), ("error: no room\n", "FAILED, no room")])
def test_how_jobs_ended_is_said_where_accounting_says_nothing_too(
    study: Path, squeue: Callable[..., Path], tmp_path: Path, capsys: Capture, log: str, how: str
) -> None:
    cell = make_cell(study)
    prepare(cell)
    written = submit("9", cell) / "jobs" / "9_0_log.out"
    written.parent.mkdir()
    written.write_text(log)
    squeue("7|7|PENDING|Priority|another")
    (tmp_path / "bin" / "sacct").write_text("#!/bin/sh\nexit 1\n" if how == "unknown" else "#!/bin/sh\necho '9|FAILED'\n")
    said = say(capsys, "status", "s")
    assert f"1 pending: its job ended as {how}" in said
    assert str(written) in said


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("", 1), ("no", 1)])
def test_cancelling_asks(
    study: Path, squeue: Callable[..., Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    submit("7", make_cell(study))
    told = squeue("7|7|PENDING|Priority|s")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    say(capsys, "cancel", "s", status=status)
    assert told.exists() == (status == 0)


OWNS = """
import signal, sys
from pathlib import Path
from mtlsweep.runs import Claim, RunDirectory
with Claim(RunDirectory(Path(sys.argv[1]))):
    print("running", flush=True)
    signal.pause()
"""


def own(directory: Path) -> subprocess.Popen[str]:
    """A process that runs a cell and does nothing for it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, "-c", OWNS, str(directory)], stdout=subprocess.PIPE, text=True, env=environment)
    assert started.stdout
    assert started.stdout.readline() == "running\n"
    return started


@pytest.mark.processes
def test_process_of_this_machine_is_ended_and_no_other(study: Path, capsys: Capture) -> None:
    ours, other = make_cell(study), make_cell(study.with_name("other"))
    processes = [own(prepare(cell).path) for cell in (ours, other)]
    elsewhere = make_cell(study, seed=1)
    record = {"owner": vars(replace(Owner.here(), host="elsewhere")), "provenance": {}, "started": ""}
    prepare(elsewhere).attempt_file(1).write_text(json.dumps(record))
    said = say(capsys, "cancel", "s", "--yes")
    assert "cannot be ended from here: resnet20 equal seed 1, run by process" in said
    assert "ended: 0 SLURM jobs, 1 process;" in said
    assert processes[0].wait(60) == -signal.SIGTERM
    assert processes[1].poll() is None
    processes[1].kill()
    processes[1].wait()


@pytest.mark.processes
def test_shell_that_has_the_number_of_an_old_sweep_is_not_ended(study: Path, capsys: Capture) -> None:
    """A run's parent is the user's: numbers are used again, and a study's folder is copied."""
    process = own(prepare(make_cell(study)).path)
    (study / ".sweeps" / f"20250101-000000-{os.getpid()}").mkdir(parents=True)
    said = say(capsys, "cancel", "s", status=2)
    assert f"process {process.pid}: " in said
    assert f"process {os.getpid()}: " not in said
    process.kill()
    process.wait()


def test_process_that_has_the_number_of_an_owner_is_not_the_owner() -> None:
    here = Owner.here()
    assert process(here)
    assert not process(replace(here, started=here.started - 1000, ticks=0))
    assert not process(replace(here, host="elsewhere"))


# Clean


def files(study: Path) -> set[Path]:
    return {path for path in study.rglob("*") if path.is_file()}


def test_clean_removes_what_has_no_result_and_nothing_else(study: Path, capsys: Capture) -> None:
    grid = Grid(study)
    before = files(study)
    assert "Nobody can be asked here" in say(capsys, "clean", "s", status=2)
    assert files(study) == before
    said = say(capsys, "clean", "s", "--yes")
    assert "removed: 3 cells" in said
    gone = [grid.cell("resnet56", "equal", 42), grid.cell("vgg16bn", "dwa", 123)]
    missing = study / ".sweeps" / "1" / "cells-0.json"
    assert before - files(study) == {path for path in before if path == missing or {cell.directory for cell in gone} & set(path.parents)}
    assert f"{len(grid.best) + 3} completed, 3 diverged, 6 damaged" in say(capsys, "status", "s")


def test_metrics_that_cannot_be_read_are_no_epochs(study: Path, capsys: Capture) -> None:
    path = fail(make_cell(study), "out of ideas")
    (path / "metrics.csv").write_bytes(b"epoch\n\xff\xfe\n")
    assert "failed" in say(capsys, "status", "s")
    assert f"{path}\n" in say(capsys, "clean", "s", "--yes")
    assert not path.exists()


def test_result_whose_description_is_lost_is_damaged_and_stays(study: Path, capsys: Capture) -> None:
    cell = make_cell(study)
    path = complete(cell, 50.0, 50.0)
    SweepRecord.write(study / ".sweeps" / "1", [cell])
    log_epochs(path, [40.0, 50.0])
    (path / "run.json").unlink()
    said = say(capsys, "status", "s")
    assert f"damaged: {path}: has a result and no run.json" in said
    assert "1 cell: 1 damaged" in said
    say(capsys, "clean", "s", "--yes")
    assert (path / "result.json").exists()


def test_named_cells_are_removed_whatever_has_become_of_them(study: Path, capsys: Capture) -> None:
    kept, gone = (complete(make_cell(study, loss=loss), 50.0, 50.0) for loss in ("haw_reg", "haw"))
    failed = fail(make_cell(study, loss="dwa"), "out of ideas")
    assert "re: no such cell" in say(capsys, "clean", "s", "re", "--yes", status=2)
    say(capsys, "clean", "s", "haw", "--yes")
    assert (kept.exists(), gone.exists(), gone.parents[1].exists(), failed.exists()) == (True, False, False, True)
    say(capsys, "clean", "s", str(kept), "--yes")
    assert not kept.exists()
    say(capsys, "clean", "s", "--completed", "--yes")
    assert not list(study.iterdir())


def test_what_runs_or_waits_is_never_removed(
    study: Path, running: Callable[[Cell], Path], squeue: Callable[..., Path], capsys: Capture
) -> None:
    """Nor a cell that a sweep may come to which is going on."""
    cells = [make_cell(study, seed=seed) for seed in range(6)]
    running(cells[0])
    SweepRecord.write(study / ".sweeps" / "local", cells[:2])
    submit("7", cells[2], cells[3])
    squeue("7|7|RUNNING|None|s")
    kept = [cells[0].directory, *(prepare(cell).path for cell in cells[1:3]), fail(cells[3], "out of ideas")]
    gone = [fail(cells[4], "out of ideas"), complete(cells[5], 50.0, 50.0)]
    for cell in cells[:4]:
        assert "or of a sweep that is going on" in say(capsys, "clean", "s", "seed", str(cell.settings["seed"]), "--yes", status=2)
    assert "4 running, queued or of a sweep that is going on: left alone" in say(capsys, "clean", "s", "--completed", "--yes")
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert len(list(study.glob(".sweeps/*/cells-0.json"))) == 2


def test_run_that_begins_while_the_user_thinks_is_left_alone(
    study: Path, running: Callable[[Cell], Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell(study)
    directory = fail(cell, "out of ideas")

    def think(question: str, yes: bool) -> bool:
        running(cell)
        return True

    monkeypatch.setattr("mtlsweep.study.clean.confirm", think)
    assert f"left alone: {directory}: is being run by process {os.getpid()}" in say(capsys, "clean", "s")
    assert (directory / "run.log").exists()


def test_run_that_ends_while_the_user_thinks_keeps_its_result(
    study: Path, squeue: Callable[..., Path], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, other = make_cell(study), make_cell(study, seed=7)
    directory, waiting = fail(cell, "out of ideas"), prepare(other).path

    def think(question: str, yes: bool) -> bool:
        complete(cell, 50.0, 50.0)
        submit("7", other)
        squeue("7|7|PENDING|None|s")
        return True

    monkeypatch.setattr("mtlsweep.study.clean.confirm", think)
    said = say(capsys, "clean", "s")
    assert f"left alone: {directory}: has been run meanwhile" in said
    assert f"left alone: {waiting}: waits to be run by now" in said
    assert (directory / "result.json").exists()
    assert waiting.exists()


def test_links_are_not_followed(study: Path, tmp_path: Path, capsys: Capture) -> None:
    elsewhere = fail(make_cell(tmp_path / "precious"), "out of ideas")
    study.mkdir(parents=True)
    (study / "resnet20").symlink_to(tmp_path / "precious" / "resnet20")
    own = fail(make_cell(study, model="vgg16bn"), "out of ideas")
    (own / "data").symlink_to(tmp_path / "precious")
    say(capsys, "clean", "s", "--yes")
    assert not own.exists()
    assert (elsewhere / "run.log").exists()
    assert "leads through a symbolic link" in say(capsys, "clean", "s", "equal", "--yes", status=2)


def test_earlier_results_are_removed_if_asked_for(study: Path, capsys: Capture) -> None:
    directory = complete(make_cell(study), 50.0, 50.0)
    for number in ("1", "2"):
        shutil.copytree(directory, directory / "previous" / number, ignore=shutil.ignore_patterns("previous"))
    assert "nothing to remove" in say(capsys, "clean", "s", "--yes")
    assert "removed: earlier results of 1 cell" in say(capsys, "clean", "s", "--previous", "--yes")
    assert (directory / "result.json").exists()
    assert not (directory / "previous").exists()


def test_log_of_epochs_is_kept_by_a_study_that_is_looked_at(study: Path, capsys: Capture) -> None:
    """Nothing is written by a status."""
    log_epochs(complete(make_cell(study), 50.0, 50.0), [40.0, 50.0])
    before = {path: path.stat().st_mtime_ns for path in files(study)}
    say(capsys, "status", "s")
    assert {path: path.stat().st_mtime_ns for path in files(study)} == before
