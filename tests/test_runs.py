import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest

from mtlsweep.errors import UserError
from mtlsweep.runs import Cell, Claim, Result, RunDirectory, State, Status, SweepRecord, Taken, files, scan
from mtlsweep.runs import owner as owner_module
from mtlsweep.runs import signature as signature_module
from mtlsweep.runs.owner import SILENT_SECONDS, STALE_SECONDS, Owner, is_gone
from mtlsweep.runs.signature import identity, signature, source_file


def settings(runs_dir: Path, **changes: Any) -> dict[str, Any]:
    """Of a run; `loss__beta=3` changes `loss.beta`."""
    value: dict[str, Any] = {
        "study": "s", "seed": 42, "runs_dir": str(runs_dir), "save": "none", "rerun": "none", "dry_run": False, "checkpoint_seconds": 10.0,
        "model": {"_target_": "mtlsweep.models.resnet", "depth": 20, "width": 16},
        "loss": {"_target_": "mtlsweep.losses.haw.HAW", "beta": 2.0},
        "curriculum": {"_target_": "mtlsweep.curriculum.Constant", "value": 1.0},
        "schedule": {"epochs": 3, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005},
        "data": {"name": "synthetic", "root": "data", "download": True, "seed": 0, "train_size": 100, "test_size": 100, "validation": 0},
        "engine": {"device": "auto", "precision": "auto", "channels_last": None, "threads": None},
    }  # fmt: skip
    for key, change in changes.items():
        group, _, name = key.rpartition("__")
        (value[group] if group else value)[name] = change
    return value


OPTIONS = {"model": "resnet20", "loss": "haw", "curriculum": "none", "schedule": "smoke", "data": "synthetic", "engine": "auto"}


def cell(runs_dir: Path, **changes: Any) -> Cell:
    return Cell(settings(runs_dir, **changes), OPTIONS, {})


def prepared(runs_dir: Path, **changes: Any) -> RunDirectory:
    one = cell(runs_dir, **changes)
    directory = RunDirectory(one.directory)
    directory.prepare(one)
    return directory


def result(status: str = "completed") -> Result:
    return Result(
        signature="x", status=status, reason=None, epochs=3, best_fine_acc=30.0, best_epoch=2, last_fine_acc=29.0, last_coarse_acc=50.0,
        coarse_acc_at_best=49.0, selected_epoch=None, selected_val_acc=None, selected_fine_acc=None, fine_weight=1.0, coarse_weight=1.0,
        conflict_rate=None, cosine=None, seconds=1.0, attempts=1, device="cpu", engine={}, commit=None, dirty=None, finished="now",
    )  # fmt: skip


def dead_owner() -> Owner:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return replace(Owner.here(), pid=ended.pid)


def abandon(directory: RunDirectory, owner: Owner) -> None:
    """Leave the directory as a process leaves it that was killed."""
    directory.attempt_file(1).write_text(json.dumps({"owner": vars(owner)}))


# Identity and signature


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7}, {"loss__beta": 3.0}, {"model__depth": 56}, {"curriculum__value": 0.5}, {"schedule__epochs": 4},
        {"schedule__lr": 0.1}, {"data__train_size": 200}, {"data__validation": 10}, {"data__seed": 1}, {"engine__precision": "bf16"},
        {"engine__channels_last": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_numbers_changes_the_directory(tmp_path: Path, change: dict[str, Any]) -> None:
    assert cell(tmp_path).directory != cell(tmp_path, **change).directory


@pytest.mark.parametrize(
    "change",
    [
        {"save": "best"}, {"rerun": "all"}, {"checkpoint_seconds": 0.0}, {"data__root": "/elsewhere"}, {"data__download": False},
        {"engine__device": "cpu"}, {"engine__threads": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_change_numbers_does_not(tmp_path: Path, change: dict[str, Any]) -> None:
    assert cell(tmp_path).directory == cell(tmp_path, **change).directory


def test_directory_names_what_was_chosen(tmp_path: Path) -> None:
    one = cell(tmp_path)
    assert one.directory == tmp_path / "s" / "resnet20" / "haw" / "smoke" / f"seed42-{one.signature[:8]}"


def test_signature_does_not_depend_on_the_order_of_settings(tmp_path: Path) -> None:
    ordered = settings(tmp_path)
    assert signature(identity(ordered)) == signature(identity(dict(reversed(ordered.items()))))


def test_signature_of_a_run_stays_what_it_is(tmp_path: Path) -> None:
    """Pinned: a change here gives every run ever made another directory. A new key belongs into `ADDED_LATER`."""
    assert cell(tmp_path).signature[:8] == "6bcdf780"


@pytest.mark.parametrize("target", ["Own", "Own.wide", "Own.Inner.wide"])
def test_a_users_code_enters_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Whatever of its module is called, a class or a method."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_losses.py").write_text("class Own:\n    class Inner:\n        pass\n")
    importlib.import_module("users_losses")
    call = {"_target_": f"users_losses.{target}"}
    assert source_file(call) == tmp_path / "users_losses.py"
    before = signature(identity({"seed": 1, "loss": call}))
    (tmp_path / "users_losses.py").write_text("class Own: ...\n")
    assert signature(identity({"seed": 1, "loss": call})) != before
    sys.modules.pop("users_losses")


def test_key_added_later_at_its_old_value_keeps_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell(tmp_path).signature
    monkeypatch.setitem(signature_module.ADDED_LATER, "loss.heads", "own")
    assert cell(tmp_path, loss__heads="own").signature == before
    assert cell(tmp_path, loss__heads="weighted").signature != before


def test_users_file_enters_by_its_content_and_a_copy_is_kept(tmp_path: Path) -> None:
    for folder, content in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_loss.py").write_text(content)
    cells = [cell(tmp_path, loss={"_target_": "mtlsweep.losses.user.load", "path": str(tmp_path / f / "my_loss.py")}) for f in "abc"]
    assert cells[0].signature == cells[1].signature != cells[2].signature
    directory = RunDirectory(cells[0].directory)
    copy = Path(directory.prepare(cells[0])["loss"]["path"])
    assert copy.parent == directory.path.absolute()
    assert copy.read_text() == "x = 1"
    copy.write_text("x = 4")
    directory.prepare(cells[0])
    assert copy.read_text() == "x = 1"
    (tmp_path / "a" / "my_loss.py").write_text("x = 3")
    with pytest.raises(UserError, match="has been changed"):
        directory.prepare(cells[0])


def test_missing_file_of_the_users_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.py: no such file"):
        _ = cell(tmp_path, loss={"_target_": "mtlsweep.losses.user.load", "path": "nothing.py"}).signature


def test_class_outside_the_package_enters_by_the_content_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "someones_losses.py"
    signatures = set()
    for content in ("x = 1", "x = 2"):
        module.write_text(content)
        signatures.add(cell(tmp_path, loss={"_target_": "someones_losses.Loss"}).signature)
    assert len(signatures) == 2


# Status


def test_state_follows_the_run(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    assert directory.status().state is State.pending
    with Claim(directory) as claim:
        assert directory.status().state is State.running
        assert directory.status().owner == Owner.here()
        claim.write_result(result())
    assert directory.status().state is State.completed


def test_exception_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with pytest.raises(ZeroDivisionError), Claim(directory):
        _ = 1 / 0
    status = directory.status()
    assert (status.state, status.error) == (State.failed, "ZeroDivisionError: division by zero")
    assert "Traceback" in json.loads((directory / "status.json").read_text())["traceback"]
    assert "Traceback" in (directory / "run.log").read_text()


def test_ctrl_c_reads_as_interrupted(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with pytest.raises(KeyboardInterrupt), Claim(directory):
        raise KeyboardInterrupt
    assert directory.status().state is State.interrupted


def test_killed_owner_reads_as_interrupted(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    abandon(directory, dead_owner())
    assert directory.status().state is State.interrupted


def test_reused_pid_is_not_the_owner(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    abandon(directory, replace(Owner.here(), started=Owner.here().started - 100, ticks=0))
    assert directory.status().state is State.interrupted


def test_damaged_result_is_no_result(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    abandon(directory, dead_owner())
    (directory / "result.json").write_text('{"status": "comp')
    assert directory.status().state is State.interrupted


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "[]"),
        ("result.json", '{"schema": 1}'),
        ("status.json", "{}"),
        ("status.json", '{"attempt": 1}'),
        ("attempts/1.json", "{}"),
        ("attempts/1.json", '{"owner": []}'),
        ("attempts/1.json", '{"owner": "x"}'),
        ("attempts/1 (copy).json", "{}"),
    ],
)
def test_incomplete_files_are_no_files(tmp_path: Path, name: str, content: str) -> None:
    directory = prepared(tmp_path)
    abandon(directory, dead_owner())
    (directory / name).write_text(content)
    assert directory.status().state is State.interrupted


def test_damaged_identity_is_written_again(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    whole = directory.describe()
    (directory / "run.json").write_text('{"schema": 1, "sig')
    directory.prepare(cell(tmp_path))
    assert directory.describe() == whole


@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_another_schema_version_is_refused(tmp_path: Path, name: str) -> None:
    directory = prepared(tmp_path)
    (directory / name).write_text(json.dumps({"schema": 99, "status": "completed"}))
    with pytest.raises(UserError, match="another version"):
        _ = (directory.describe(), directory.status())


def test_directory_of_another_run_is_refused(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with pytest.raises(UserError, match="belongs to another run"):
        directory.prepare(cell(tmp_path, loss__beta=3.0))


def test_unwritable_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file where the study's folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        prepared(tmp_path)


# Ownership


def test_running_run_is_not_taken(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with Claim(directory), pytest.raises(Taken, match=f"process {os.getpid()}"), Claim(directory):
        pass


def _try_to_claim(path: Path, start: Any, results: "Queue[bool]") -> None:
    start.wait()
    try:
        with Claim(RunDirectory(path)):
            results.put(True)
            time.sleep(0.5)  # stay alive while the others try
    except Taken:
        results.put(False)


@pytest.mark.processes
def test_of_many_processes_exactly_one_takes_over_from_a_dead_owner(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    abandon(directory, dead_owner())
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_try_to_claim, args=(directory.path, start, results)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    outcomes = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert outcomes.count(True) == 1


def test_owner_that_was_taken_over_may_not_write(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        directory.attempt_file(2).write_text(json.dumps({"owner": vars(Owner.here())}))
        with pytest.raises(Taken):
            claim.write_result(result())
    assert not (directory / "result.json").exists()
    assert not (directory / "status.json").exists()


def elsewhere(**changes: Any) -> Owner:
    return replace(Owner.here(), host="another-host", **changes)


def test_owner_on_another_host_is_judged_by_its_heartbeat() -> None:
    assert not is_gone(elsewhere(), STALE_SECONDS - 1)
    assert is_gone(elsewhere(), STALE_SECONDS + 1)


def test_pid_of_another_container_says_nothing() -> None:
    """It has this host's name, and a process of its own under a pid that is another's or nobody's here."""
    other = replace(Owner.here(), pid=2**22 + 1, namespace="pid:[1]")
    assert not is_gone(other, STALE_SECONDS - 1)
    assert is_gone(other, STALE_SECONDS + 1)
    assert is_gone(replace(other, namespace=None), 0)  # as an earlier version wrote it


def test_clock_that_is_set_ends_no_owner() -> None:
    here = Owner.here()
    assert not is_gone(replace(here, started=here.started - 3600), 0)
    assert is_gone(replace(here, started=here.started - 3600, ticks=None), 0)
    assert is_gone(replace(here, ticks=(here.ticks or 0) - 1), 0)


def test_requeued_job_takes_its_own_earlier_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # the machine may have a SLURM, which knows no such job
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_gone(elsewhere(slurm_job="77", slurm_restarts=0), 0)
    assert not is_gone(elsewhere(slurm_job="78", slurm_restarts=0), 0)


@pytest.mark.parametrize(
    ("answer", "status", "gone"), [("5 RUNNING", 0, False), ("6 RUNNING", 0, True), ("5 COMPLETED", 0, True), ("", 0, True)]
)
def test_slurm_is_asked_about_a_job_on_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, gone: bool
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho {answer}\nexit {status}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    old = STALE_SECONDS + 1 if not gone else 0  # SLURM's word stands against the heartbeat
    assert is_gone(elsewhere(slurm_job="5"), old) is gone


@pytest.mark.parametrize(("age", "gone"), [(10, False), (SILENT_SECONDS + 1, True)])
def test_job_that_slurm_does_not_know_may_be_another_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, gone: bool
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert is_gone(elsewhere(slurm_job="5"), age) is gone


def test_heartbeat_decides_where_slurm_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_gone(elsewhere(slurm_job="5"), 0)
    assert is_gone(elsewhere(slurm_job="5"), STALE_SECONDS + 1)


def test_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlsweep.runs.claim.HEARTBEAT_SECONDS", 0.01)
    directory = prepared(tmp_path)
    with Claim(directory):
        os.utime(directory.attempt_file(1), (0, 0))
        deadline = time.monotonic() + 10
        while directory.attempt_file(1).stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert directory.attempt_file(1).stat().st_mtime > 0
    assert owner_module.HEARTBEAT_SECONDS < STALE_SECONDS / 5


# Records


def test_earlier_result_is_put_aside_not_overwritten(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    for _ in range(3):
        with Claim(directory, anew=True) as claim:
            assert directory.result() is None
            claim.write_metrics([{"epoch": 1}])
            claim.write_result(result())
    kept = sorted(path.name for path in (directory / "previous").glob("*/result.json"))
    assert len(kept) == 2
    assert directory.status() == Status(State.completed, attempt=3)


def test_numbers_of_earlier_results_are_not_given_twice(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    for _ in range(3):
        with Claim(directory, anew=True) as claim:
            claim.write_result(result())
    shutil.rmtree(directory / "previous" / "1")
    with Claim(directory, anew=True) as claim:
        claim.write_result(result())
    assert sorted(path.name for path in (directory / "previous").iterdir()) == ["2", "3"]
    assert directory.earlier() == 3


def test_run_whose_beginning_fails_is_recorded_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunDirectory) -> None:
        raise OSError(28, "No space left on device")

    directory = prepared(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "put_aside", full)
        with pytest.raises(OSError, match="No space left"), Claim(directory, anew=True):
            pass
    status = directory.status()
    assert (status.state, status.attempt) == (State.failed, 1)
    assert "No space left on device" in str(status.error)
    assert "No space left on device" in (directory / "run.log").read_text()


def test_what_a_killed_owner_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    for name in (".checkpoint.pt.17-0123abcd", ".best.pt.17-0123abcd"):
        (run / name).write_bytes(b"half of it")
    with Claim(run):
        assert list(run.path.glob(".*.pt.*")) == []


def test_processes_of_one_number_do_not_write_each_others_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in two containers that share a disk: one creates the file while the other is about to."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path, link, created = tmp_path / "1.json", os.link, []

    def link_late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        created.append(files.create_json(path, {"owner": "other"}))
        link(source, target)

    monkeypatch.setattr(os, "link", link_late)
    assert not files.create_json(path, {"owner": "one"})
    assert created == [True]
    assert files.read_json(path) == {"owner": "other"}
    assert [file.name for file in tmp_path.iterdir()] == ["1.json"]


def test_scan_finds_runs_pending_cells_and_damaged_ones(tmp_path: Path) -> None:
    done, waiting = cell(tmp_path), cell(tmp_path, seed=7)
    SweepRecord.write(done.study_dir / ".sweeps" / "then", [done, waiting])
    directory = RunDirectory(done.directory)
    directory.prepare(done)
    with Claim(directory) as claim:
        claim.write_result(result("diverged"))
    damaged = prepared(tmp_path, seed=8)
    (damaged / "run.json").write_text("{")
    records = {record.run.get("seed"): record for record in scan(done.study_dir)}
    assert records[42].state is State.diverged
    assert records[7].state is State.pending
    assert records[None].problem is not None
    assert len(records) == 3
