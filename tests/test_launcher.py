"""The launcher `slurm` where there is no SLURM, and what a job does with its signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import ROOT, TINY, CommandLine, finish
from omegaconf import OmegaConf
from test_processes import wait_for
from test_runs import cell, prepared, result

from hydra_plugins.mtlsweep_launcher.slurm import SlurmLauncher
from mtlsweep import interrupt, sweep
from mtlsweep.config import EngineConfig
from mtlsweep.errors import UserError
from mtlsweep.frozen import FrozenCell
from mtlsweep.plan import Task
from mtlsweep.progress import Display
from mtlsweep.runs import Claim, RunDirectory
from mtlsweep.slurm import ends, job, queue
from mtlsweep.slurm.options import Options, parse
from mtlsweep.slurm.submission import Submission, waiting
from mtlsweep.slurm.submit import parallel
from mtlsweep.train import Job, checkpoint, on_lane, take_turns

SLURM = "hydra/launcher=slurm"


# The command line


def test_launcher_without_a_sweep_is_an_error(cli: CommandLine) -> None:
    ended = cli(*TINY, SLURM)
    assert ended.status == 2
    assert ended.err == "error: hydra/launcher=slurm: launchers execute sweeps; add -m, which makes a sweep of one cell too\n"


def test_sweeper_without_a_sweep_is_an_error(cli: CommandLine, tmp_path: Path) -> None:
    ended = cli(*TINY, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=5")
    assert (ended.status, ended.err) == (2, "error: hydra/sweeper=optuna: sweepers choose the cells of a sweep; add -m\n")
    assert not list(tmp_path.iterdir())


def test_without_slurm_the_sweep_is_refused(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ended = cli("-m", *TINY, SLURM)
    assert (ended.status, ended.err) == (2, "error: hydra/launcher: there is no SLURM here (sbatch is not found)\n")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("hydra.launcher.time=soon", "hydra.launcher.time=soon: Value 'soon' of type 'str' could not be converted to Integer"),
        ("hydra.launcher.cells_per_job=0", "hydra.launcher.cells_per_job=0: must be at least 1"),
        ("hydra.launcher.time=2", "hydra.launcher.signal_seconds=120: must be less than the time limit (2 min)"),
        ("hydra.launcher.memory=0", "hydra.launcher.memory=0.0: must be more than 0"),
        ("hydra.launcher.memry=2", "hydra.launcher.memry: no such key (hydra.launcher.memory?); hydra.launcher has account, cells_per_job"),
        ("hydra.launcher.sbatch.exclude=n4", "hydra.launcher.sbatch.exclude: no such key; an option of sbatch is added with a +: +hydra.l"),
        ("hydra.launcher.sbatch={exclude:n4}", "hydra.launcher.sbatch: an option of sbatch is added by itself and with a +: +hydra.laun"),
        ("hydra.launcher.environment.A=1", "hydra.launcher.environment.A: no such key; a variable of the jobs' environment is added"),
        ("+hydra.launcher.nodes=2", "hydra.launcher.nodes: no such key; choose from account, cells_per_job, constraint"),
    ],
)
def test_wrong_option_is_one_line(cli: CommandLine, option: str, message: str) -> None:
    ended = cli("-m", *TINY, SLURM, option)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1


def test_leaving_is_refused_with_a_sweeper_that_goes_by_results() -> None:
    launcher = SlurmLauncher(wait=False)
    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"}}})
    launcher.setup(hydra_context=Mock(), task_function=Mock(), config=config)
    with pytest.raises(UserError, match="wait=false: the sweeper goes by the results"):
        launcher.launch([["seed=1"]], 0)


def test_clusters_have_files_of_their_own(cli: CommandLine) -> None:
    ended = cli(*TINY, "hydra/launcher=mycluster", "--cfg", "hydra", "--package", "hydra.launcher")
    assert "cells_per_job: 4" in ended.out
    assert "signal_seconds: 120" in ended.out


def test_nothing_heavy_is_loaded_to_find_the_launcher() -> None:
    code = "import sys, hydra_plugins.mtlsweep_launcher.slurm, mtlsweep.status; print({'torch', 'pandas', 'submitit'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


SBATCH = """#!/bin/sh
echo began >> asked
sleep 3
echo Submitted batch job 7
"""


@pytest.mark.processes
def test_jobs_that_slurm_takes_while_the_user_leaves_are_known(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches all that a command has started."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", "#!/bin/sh\n"), ("srun", "#!/bin/sh\n")):  # srun: submitit looks for it
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    given = ["-m", *TINY, SLURM, "hydra.launcher.wait=false"]
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *given],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for((tmp_path / "asked").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    ended = finish(process)
    assert ended.status == 130, ended
    assert "submitted 1 cell as SLURM job 7" in ended.out
    assert "the jobs go on; the same command follows them again" in ended.out
    (record,) = tmp_path.glob("runs/*/.sweeps/*/jobs-0.json")
    assert list(json.loads(record.read_text())["jobs"]) == ["7"]


def test_folder_that_slurm_would_read_as_a_pattern_is_refused(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = cli("-m", *TINY, SLURM, "runs_dir='of%j'")
    assert ended.status == 2
    assert "SLURM would read its % as a pattern" in ended.err


# What is frozen


def frozen(runs_dir: Path, **changes: Any) -> FrozenCell:
    task = Task.of(cell(runs_dir, **changes))
    return FrozenCell.of(task, task.directory.prepare(task.cell), threads=2)


def test_frozen_cell_keeps_its_directory_and_needs_no_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = frozen(Path("runs"))
    monkeypatch.chdir("/")
    now = one.now()
    assert now.directory == one.directory == tmp_path / cell(Path("runs")).directory
    assert now.settings["data"]["root"] == str(tmp_path / "data")
    assert now.settings["engine"]["threads"] == 2
    assert frozen(tmp_path, engine__threads=1).now().settings["engine"]["threads"] == 1


def with_own_loss(path: Path) -> dict[str, Any]:
    return {"loss": {"_target_": "mtlsweep.losses.user.load", "path": str(path)}}


def test_frozen_cell_has_its_own_copy_of_the_users_file(tmp_path: Path) -> None:
    source = tmp_path / "my_loss.py"
    source.write_text("as = submitted")
    one = frozen(tmp_path, **with_own_loss(source))
    source.write_text("edited")
    assert Path(one.now().settings["loss"]["path"]).read_text() == "as = submitted"


def test_code_that_was_changed_in_the_queue_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "module_of_theirs.py"
    module.write_text("x = 1")
    one = frozen(tmp_path, loss={"_target_": "module_of_theirs.Loss"})
    module.write_text("x = 2")
    with pytest.raises(UserError, match="has been changed while it waited"):
        replace(one, cell=replace(one.cell)).now()


def test_finished_run_is_done_again_once_however_often_the_job_starts(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        claim.write_result(result())
    one = frozen(tmp_path, rerun="all")
    assert Task.of(one.now()).action == "redo"
    with Claim(directory, anew=True) as claim:
        claim.write_result(result())
    assert Task.of(one.now()).action == "done"


def test_objective_of_a_run_without_an_accuracy_is_none(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        claim.write_result(replace(result("diverged"), best_fine_acc=None))
    assert Task.of(frozen(tmp_path).now()).objective is None


def test_run_that_is_to_be_done_again_and_is_not_reached_stays_due(tmp_path: Path) -> None:
    """Also for the command without `rerun`, until it has been begun."""
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        claim.write_result(result())
    plain = Task.of(frozen(tmp_path, rerun="none").now())
    sweep.ask_redo([plain])
    assert (plain.action, directory.redo_asked) == ("done", False)
    sweep.ask_redo([Task.of(frozen(tmp_path, rerun="all").now())])
    assert Task.of(frozen(tmp_path, rerun="none").now()).action == "redo"
    with Claim(directory, anew=True) as claim:
        assert Task.of(frozen(tmp_path, rerun="none").now()).action == "taken"
        claim.write_result(result())
    assert Task.of(frozen(tmp_path, rerun="none").now()).action == "done"


def test_job_that_never_began_does_not_pass_for_the_earlier_result(tmp_path: Path) -> None:
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        claim.write_result(result())
    task = Task.of(frozen(tmp_path, rerun="all").now())
    task.look_again()
    assert (task.outcome, task.result) == ("interrupted", None)
    task = Task.of(frozen(tmp_path, rerun="all").now())
    with Claim(directory, anew=True) as claim:
        claim.write_result(result())
    task.look_again()
    assert task.outcome == "completed"
    assert task.result


def test_run_that_was_done_again_meanwhile_is_not_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("mtlsweep.train.on_lane", lambda directory, settings, display, anew: asked.append(anew))
    directory = prepared(tmp_path)
    with Claim(directory) as claim:
        claim.write_result(result())
    task = Task.of(frozen(tmp_path, rerun="all").now())
    sweep._start(task, {}, Display())
    with Claim(directory, anew=True) as claim:
        claim.write_result(result())
    sweep._start(task, {}, Display())
    assert asked == [True, False]


SMALL = {
    "model__depth": 8,
    "model__width": 4,
    "engine": OmegaConf.to_container(OmegaConf.structured(EngineConfig), enum_to_str=True),
    "logger": {"_target_": "mtlsweep.loggers.Nothing"},
}


def test_cell_that_is_refused_when_its_job_starts_costs_itself_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (frozen(tmp_path, **SMALL, seed=seed) for seed in (1, 2))
    (first.directory / "run.json").write_text('{"schema": 99}')
    with pytest.raises(SystemExit) as ended:
        job.run([first, second], signal_seconds=30, lanes=1)
    assert ended.value.code == 1
    assert f"error: {first.directory}/run.json: written by another version of mtlsweep" in capsys.readouterr().err
    assert [RunDirectory(one.directory).status().state.value for one in (first, second)] == ["pending", "completed"]


def test_cell_whose_code_is_broken_where_its_job_runs_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's code is not frozen: it may have been changed, or be another one on the node."""
    broken, sound = (frozen(tmp_path, **SMALL, loss={"_target_": f"mtlsweep.losses.{loss}"}) for loss in ("dwa.DWA", "equal.Equal"))
    monkeypatch.setattr("mtlsweep.losses.dwa.DWA.__init__", Mock(side_effect=SyntaxError("half edited")))
    with pytest.raises(SystemExit):
        job.run([broken, sound], signal_seconds=30, lanes=1)
    states = [RunDirectory(one.directory).status() for one in (broken, sound)]
    assert [status.state.value for status in states] == ["failed", "completed"]
    assert "half edited" in str(states[0].error)


# What waits in the queue


def test_cells_of_jobs_in_the_queue_are_known(tmp_path: Path) -> None:
    folder = tmp_path / ".sweeps" / "then"
    folder.mkdir(parents=True)
    Submission.begin(folder, "s").add({"7_0": ["a", "b"], "7_1": ["c"]})
    Submission.begin(folder, "s").add({"8": ["d"], "10": ["e"]})
    (folder / "jobs-2.json").write_text("damaged")
    names = {"7_0": "s", "8": "s", "9": "s", "10": "another's, of a number used again"}
    known = waiting(tmp_path, {number: queue.Job(number, number, "RUNNING", "None", name) for number, name in names.items()})
    assert {path.name: job.id for path, (job, _) in known.items()} == {"a": "7_0", "b": "7_0", "d": "8"}
    assert known[tmp_path / "d"][1].log("8") == folder / "jobs" / "8_0_log.out"


def test_silent_slurm_is_no_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert queue.listed() is None
    assert queue.largest_array() == 1001


@pytest.mark.parametrize(
    ("states", "expected"),
    [({"7": "RUNNING"}, "starts again"), ({"7": "COMPLETING"}, "is being ended"), ({}, "is being ended"), (None, "starts again")],
)
def test_job_whose_time_is_up_starts_again_unless_slurm_is_ending_it(
    states: dict[str, str] | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job.submitit, "JobEnvironment", lambda: Mock(job_id="7"))
    jobs = None if states is None else {number: queue.Job(number, number, state, "None", "s") for number, state in states.items()}
    monkeypatch.setattr(queue, "listed", lambda timeout: jobs)
    monkeypatch.setattr(queue, "requeue", lambda number: number == "7")
    assert expected in job._continue_later(True)


def test_jobs_may_have_a_name_of_the_users() -> None:
    assert parse({}).job_name is None
    assert parse({"sbatch": {"job-name": "mine"}}).job_name == parse({"sbatch": {"job_name": "mine"}}).job_name == "mine"


def test_nothing_is_submitted_where_slurm_does_not_say_what_is_there(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    ended = cli("-m", *TINY, SLURM)
    assert ended.status == 2
    assert ended.err.startswith("error: SLURM does not say what is in its queue: nothing was submitted")
    assert cli("-m", *TINY, SLURM, "dry_run=true").status == 0


def test_accounting_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of an array that were cancelled before they began stand in one line; a job's script may go on after its step's end."""
    lines = [
        "7_0|OUT_OF_MEMORY",
        "7_[1-3]|CANCELLED by 0",
        "8|FAILED",
        "8.batch|FAILED",
        "8.0|OUT_OF_MEMORY",
        "10|FAILED",
        "10.0|CANCELLED",
    ]
    sacct = tmp_path / "sacct"
    sacct.write_text("#!/bin/sh\necho '" + "\n".join(lines) + "'\n")
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = queue.ended_as(["7_0", "7_2", "8", "9", "10"])
    assert found == {"7_0": "OUT_OF_MEMORY", "7_2": "CANCELLED", "8": "OUT_OF_MEMORY", "10": "FAILED"}


OUT_OF_MEMORY = "OUT_OF_MEMORY, hydra.launcher.memory gives it more"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("slurmstepd-node1: error: StepId=2.0 exceeded memory limit (832126976 > 314572800), being killed", OUT_OF_MEMORY),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=2.0. Some of the step tasks have been OOM Killed.", OUT_OF_MEMORY),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.", OUT_OF_MEMORY),
        ("slurmstepd: error: *** STEP 2.0 ON node1 CANCELLED ***", "FAILED"),
        ("failed: OSError: [Errno 28] No space left on device: 'metrics.csv'", "FAILED, No space left on device"),
        (
            "error: the time limit is too short for a single epoch; raise hydra.launcher.time",
            "FAILED, the time limit is too short for a single epoch; raise hydra.launcher.time",
        ),
        ("an epoch like any other", "FAILED"),
    ],
)
def test_why_a_job_failed_is_found_in_its_log(tmp_path: Path, line: str, state: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"before\n{line}\nafter\n")
    assert ends.how_it_ended("FAILED", log) == state
    assert ends.how_it_ended("CANCELLED", log) == "CANCELLED"
    assert ends.how_it_ended("FAILED", tmp_path / "none") == "FAILED"


@pytest.mark.parametrize(("total", "parts", "each"), [(3, 3, [1, 1, 1]), (4, 3, [2, 1, 1]), (1, 3, [1, 1, 1]), (7, 1, [7])])
def test_arrays_share_the_number_of_tasks_that_may_run_at_once(total: int, parts: int, each: list[int]) -> None:
    assert [parallel(total, number, parts) for number in range(parts)] == each


def test_options_have_the_types_they_are_declared_with() -> None:
    assert parse({"memory": 4, "setup": ["module load cuda"], "gres": "gpu:h200:1"}) == Options(
        memory=4.0, setup=["module load cuda"], gres="gpu:h200:1"
    )


# A job's signals


def test_sigterm_does_not_end_a_job_of_its_own_accord() -> None:
    with interrupt.in_job(signal.SIGUSR2, 0), interrupt.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        interrupt.check_between()
        assert interrupt.ending()
        assert not interrupt.time_is_up()
    assert not interrupt.ending()


def test_job_whose_time_is_nearly_up_leaves_between_epochs() -> None:
    with interrupt.in_job(signal.SIGUSR2, 3600):
        os.kill(os.getpid(), signal.SIGUSR2)
        interrupt.check()
        assert interrupt.time_is_up()
        with pytest.raises(KeyboardInterrupt):
            interrupt.check_between()
    interrupt.check_between()


def test_job_whose_grace_is_over_leaves_at_a_step() -> None:
    with interrupt.in_job(signal.SIGUSR2, 0):
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()


@pytest.mark.parametrize(("number", "kept"), [(signal.SIGUSR2, [1]), (signal.SIGTERM, [1, 2])])
def test_epochs_are_kept_once_slurm_has_announced_the_jobs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, kept: list[int]
) -> None:
    """No checkpoint would be due for an hour. When the time is up the first epoch is the last, else the run goes on to its third."""
    one = cell(tmp_path, **SMALL, checkpoint_seconds=3600.0)
    directory = RunDirectory(one.directory)
    found: list[int] = []
    monkeypatch.setattr(checkpoint, "save", lambda file, trainer, progress: found.append(len(progress.rows)))
    monkeypatch.setattr(Display, "step", lambda display: os.kill(os.getpid(), number))
    with interrupt.in_job(signal.SIGUSR2, 3600), contextlib.suppress(KeyboardInterrupt):
        take_turns([Job(lambda: on_lane(directory, directory.prepare(one), Display()), lambda ended: None)], lanes=1)
    assert found == kept


def test_dry_run_of_a_failed_cell_is_no_failure(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text("raise RuntimeError('out of ideas')\n")
    command = ["-m", *TINY, "loss=user/file", "loss.path=my_loss.py"]
    assert cli(*command).status == 1
    ended = cli(*command, "dry_run=true")
    assert "retry" in ended.out
    assert ended.status == 0
