"""Searches with Optuna: what they try, and that they go on where they were stopped."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import EVERY_EPOCH, ROOT, TINY, CommandLine, Ended, finish, start
from test_processes import epochs, wait_for

SEARCH = ["-m", "hydra/sweeper=optuna", *TINY, EVERY_EPOCH]
FADE = [*SEARCH, "experiment=fade", "data.train_size=200", "data.validation=100"]

needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="Optuna is not installed: pip install -e '.[optuna]'")


def trials(directory: Path) -> list[str]:
    """States of all trials, in their order."""
    with sqlite3.connect(directory / "runs" / "fade" / "search.db") as database:
        return [state for (state,) in database.execute("SELECT state FROM trials ORDER BY number")]


def results(directory: Path) -> dict[Path, int]:
    """Results of runs, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in directory.glob("runs/*/*/*/*/*/result.json")}


def search(*arguments: str, directory: Path) -> Ended:
    return finish(start(arguments, directory))


def test_without_optuna_one_line_says_what_to_install(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version

    def version(name: str) -> str:
        if name == "optuna":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)
    ended = cli(*FADE)
    what = "error: hydra/sweeper=optuna: needs Optuna 3 or newer (here: none): .venv/bin/pip install -e '.[optuna]'\n"
    assert (ended.status, ended.err) == (2, what)


def test_optuna_is_not_loaded_to_find_the_sweeper() -> None:
    code = "import sys, hydra_plugins.mtlsweep_launcher.search; print({'torch', 'pandas', 'optuna'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout == "set()\n"


@needs_optuna
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss=equal"], "hydra/sweeper=optuna: nothing to search; add for example 'curriculum.power=interval(0.5, 4.0)'"),
        (["seed=1,2"], "seed: the best of several seeds says nothing"),
        (["loss=equal,mean", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be a whole number of at least 1"),
        (["loss=equal,mean", "hydra.sweeper.direction=up"], "hydra.sweeper.direction=up: must be maximize or minimize"),
        (["loss=equal,mean", "hydra.sweeper.sampler=TPE"], "hydra.sweeper.sampler=TPE: choose from "),
        (["loss=equal,mean", "+hydra.sweeper.sampler_options.sed=1"], "hydra.sweeper.sampler_options: "),
        (["loss=equal,mean", "hydra.sweeper.storage=nowhere"], "hydra.sweeper.storage=nowhere: Optuna cannot use it "),
        (["loss=equal,mean", "hydra.sweeper.sampler=5"], "hydra.sweeper.sampler=5: choose from "),
        (["loss=equal,mean", "hydra.sweeper.params=5"], "hydra.sweeper.params=5: "),
        (["loss=equal,mean", "+hydra.sweeper.timeout=1"], "hydra.sweeper.timeout: no such key; choose from direction, n_jobs, "),
        (["loss=equal,mean", "rerun=all"], "rerun=all: a search takes runs as they are; "),
        (["loss=equal,mean", "rerun=diverged"], "rerun=diverged: a search takes runs as they are; "),
        (["loss=equal,mean", "study=a?b"], "{here}/runs/a?b/search.db: a SQLite database cannot be in a folder with ? or % in its name"),
        (["curriculum=polynomial", "curriculum.power=interval(4.0, 0.5)"], "curriculum.power=interval(4.0, 0.5): "),
    ],
)
def test_wrong_search_is_one_line(cli: CommandLine, tmp_path: Path, arguments: list[str], message: str) -> None:
    ended = cli(*SEARCH, *arguments)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {message.replace('{here}', str(tmp_path))}")
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.glob("runs/*/*"))


@needs_optuna
def test_experiment_that_is_a_sweep_needs_no_m_to_be_searched(cli: CommandLine) -> None:
    assert "0 of 20 trials done" in cli(*FADE[1:], "dry_run=true").out


@needs_optuna
def test_dry_run_of_a_search_writes_nothing(cli: CommandLine, tmp_path: Path) -> None:
    ended = cli(*FADE, "dry_run=true")
    assert ended.status == 0
    assert "0 of 20 trials done" in ended.out
    assert "dry run, nothing trained" in ended.out
    assert not list(tmp_path.iterdir())


def rows(out: str) -> int:
    """Of the closing table."""
    return len(re.findall(r" n=1\b", out))


@needs_optuna
def test_search_has_as_many_trials_as_were_asked_for_in_all(cli: CommandLine, tmp_path: Path) -> None:
    """And goes by the validation accuracy."""
    assert cli(*FADE, "hydra.sweeper.n_trials=2").status == 0
    first = results(tmp_path)
    more = cli(*FADE, "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2")
    assert more.status == 0
    assert "2 of 3 trials done" in more.out
    assert re.search(r"best: \d+\.\d\d % of the held-out images in trial \d: curriculum.power=.*, curriculum.floor=", more.out)
    assert "selected" in more.out
    assert len(results(tmp_path)) == 3
    assert first.items() <= results(tmp_path).items()
    assert trials(tmp_path) == ["COMPLETE"] * 3
    assert rows(more.out) == 3  # of the search, not of the command
    assert rows(cli(*FADE, "hydra.sweeper.n_trials=3").out) == 3
    again = cli(*FADE, "hydra.sweeper.n_trials=3", "dry_run=true")
    assert "3 of 3 trials done" in again.out
    assert again.out.count("done     completed") == 3


@needs_optuna
def test_other_values_of_what_is_not_searched_are_another_search(cli: CommandLine) -> None:
    assert cli(*FADE, "hydra.sweeper.n_trials=1").status == 0
    assert "1 of 1 trials done" in cli(*FADE, "hydra.sweeper.n_trials=1", "dry_run=true", "engine.threads=1").out
    assert "0 of 1 trials done" in cli(*FADE, "hydra.sweeper.n_trials=1", "dry_run=true", "loss=mean").out


@needs_optuna
def test_values_that_are_no_run_are_refused_and_not_tried_again(cli: CommandLine, tmp_path: Path) -> None:
    arguments = [*SEARCH, "study=fade", "curriculum=polynomial", "hydra.sweeper.n_trials=1"]
    refused = cli(*arguments, "curriculum.power=interval(-4.0, -3.0)")
    assert refused.status == 2
    assert refused.err.startswith("error: mtlsweep.curriculum.Polynomial: power must be above 0")
    assert trials(tmp_path) == ["FAIL"]
    assert cli(*arguments, "curriculum.power=interval(1.0, 2.0)").status == 0
    assert trials(tmp_path) == ["FAIL", "COMPLETE"]


@needs_optuna
def test_refusal_that_is_not_the_values_fault_costs_no_trial(cli: CommandLine, tmp_path: Path) -> None:
    arguments = [*FADE, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"]
    ended = cli(*arguments, "engine.device=cuda:99")
    assert ended.status == 2
    assert trials(tmp_path) == ["FAIL", "FAIL"]
    assert cli(*arguments).status == 0
    assert trials(tmp_path) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    with sqlite3.connect(tmp_path / "runs" / "fade" / "search.db") as database:
        tried = list(database.execute("SELECT param_value FROM trial_params ORDER BY trial_id, param_name"))
    assert tried[: len(tried) // 2] == tried[len(tried) // 2 :]


@needs_optuna
def test_trial_of_a_host_that_is_no_more_is_done_again(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna
    from optuna.distributions import FloatDistribution

    from mtlsweep.runs.owner import STALE_SECONDS
    from mtlsweep.search import Search, Space

    study, space = optuna.create_study(), Space(x=FloatDistribution(0, 1))
    begun = study.ask(space)
    begun.set_user_attr("owner", {"host": "another", "pid": 1, "started": 0.0})
    attempt = tmp_path / "m" / "l" / "s" / "seed1" / "attempts" / "1.json"
    attempt.parent.mkdir(parents=True)
    attempt.touch()
    assert Search(study, space, 1, tmp_path, lambda values: []).elsewhere == 1
    os.utime(attempt, (0, time.time() - STALE_SECONDS - 1))
    assert Search(study, space, 1, tmp_path, lambda values: []).next == [begun.params]


FAILS_ONCE = """
from pathlib import Path

from torch import nn

class MultiTaskLoss(nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        if epoch == 1 and not Path("failed").exists():
            Path("failed").touch()
            raise RuntimeError("out of ideas")
        return fine_loss + coarse_loss
"""


@needs_optuna
def test_failed_trial_costs_one_trial_and_is_done_again(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(FAILS_ONCE)
    arguments = [*FADE, "hydra.sweeper.n_trials=2", "loss=user/file", "loss.path=my_loss.py"]
    ended = cli(*arguments)
    assert ended.status == 1
    assert "failed: my_loss.py, line 10: RuntimeError: out of ideas" in ended.out
    assert trials(tmp_path) == ["FAIL", "COMPLETE"]
    again = cli(*arguments)
    assert again.status == 0
    assert trials(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert len(results(tmp_path)) == 2
    assert "2 of 2 trials done" in cli(*arguments).out
    assert len(trials(tmp_path)) == 3


OWN = """
from torch import nn

class MultiTaskLoss(nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        return fine_loss + coarse_loss
"""


@needs_optuna
def test_trial_counts_while_its_values_its_files_and_its_result_are_there(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "my_loss.py"
    file.write_text(OWN)
    arguments = [*FADE, "hydra.sweeper.n_trials=1", "loss=user/file", "loss.path=my_loss.py"]
    assert cli(*arguments).status == 0
    (done,) = results(tmp_path)

    def said(*more: str) -> str:
        return cli(*arguments, "dry_run=true", *more).out

    assert "1 of 1 trials done\n" in said()
    assert "0 of 1 trials done, 1 no longer count" in said("curriculum.power=interval(5.0, 6.0)")
    file.write_text(OWN.replace("fine_loss +", "2 * fine_loss +"))
    assert "0 of 1 trials done, 1 no longer count" in said()
    file.write_text(OWN)
    assert "1 of 1 trials done\n" in said()
    shutil.rmtree(done.parent)
    assert "1 no longer count (other values, or no such result in the study), but the sampler still learns from them" in said()
    again = cli(*arguments)
    assert again.status == 0
    assert set(results(tmp_path)) == {done}, again


@needs_optuna
def test_sampler_with_a_seed_finds_runs_that_are_there_without_the_search(cli: CommandLine, tmp_path: Path) -> None:
    """As results/README.md promises for the search that is published without its database."""
    arguments = [*FADE, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "+hydra.sweeper.sampler_options.seed=1"]
    assert cli(*arguments).status == 0
    first = results(tmp_path)
    (tmp_path / "runs" / "fade" / "search.db").unlink()
    assert cli(*arguments).status == 0
    assert results(tmp_path) == first
    assert trials(tmp_path) == ["COMPLETE"] * 2


@needs_optuna
def test_diverged_trial_is_done_and_not_the_best(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(OWN.replace("fine_loss +", "(fine_loss if epoch == 0 else float('nan') * fine_loss) +"))
    arguments = [*FADE, "hydra.sweeper.n_trials=1", "loss=user/file", "loss.path=my_loss.py"]
    ended = cli(*arguments)
    assert ended.status == 0
    assert "diverged" in ended.out
    assert "% in trial" not in ended.out
    assert trials(tmp_path) == ["PRUNED"]
    assert "1 of 1 trials done" in cli(*arguments, "dry_run=true").out


@needs_optuna
def test_search_ends_with_a_line_when_there_is_nothing_left_to_try(cli: CommandLine, tmp_path: Path) -> None:
    arguments = [*SEARCH, "study=fade", "loss=equal,mean", "hydra.sweeper.sampler=BruteForceSampler"]
    ended = cli(*arguments)
    assert (ended.status, ended.err) == (0, "")
    assert "all combinations of these values have been tried" in ended.out
    assert trials(tmp_path) == ["COMPLETE"] * 2


@needs_optuna
@pytest.mark.processes
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_stopped_search_goes_on_with_the_trial_that_was_running(tmp_path: Path, how: str) -> None:
    arguments = [*FADE, "hydra.sweeper.n_trials=2", "schedule.epochs=20"]
    process = start(arguments, tmp_path)
    wait_for(lambda: epochs(tmp_path) >= 3, process)
    process.send_signal(2 if how == "interrupted" else 9)
    assert finish(process).status == (130 if how == "interrupted" else -9)
    (begun,) = tmp_path.glob("runs/fade/*/*/*/*/checkpoint.pt")
    assert trials(tmp_path) == ["FAIL" if how == "interrupted" else "RUNNING"]
    ended = search(*arguments, directory=tmp_path)
    assert ended.status == 0, ended
    assert "0 of 2 trials done" in ended.out
    assert ended.out.count("resuming after epoch") == 1
    assert trials(tmp_path) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert begun.parent in {path.parent for path in results(tmp_path)}
    assert len(results(tmp_path)) == 2


@needs_optuna
def test_whole_settings_are_searched_in_whole_numbers(cli: CommandLine) -> None:
    given = ["schedule.batch_size=interval(16, 64)", "data.train_size=100,200", "schedule.lr=interval(1, 2)", "hydra.sweeper.n_trials=3"]
    ended = cli(*SEARCH, *given, "schedule.epochs=1")
    assert ended.status == 0, ended
    chosen = re.findall(r"\ntrial \d: data.train_size=\d00, schedule.batch_size=\d+, schedule.lr=(?:1(?:\.\d+)?|2)\n", ended.out)
    assert len(chosen) == 3, ended.out  # four digits of a number next to 2 are 2
