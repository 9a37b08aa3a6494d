"""The configuration as a user meets it: every option composes, every key is explained, every mistake is one line."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import ROOT, TINY, CommandLine, Ended
from omegaconf import OmegaConf

GROUPS = ("model", "loss", "curriculum", "schedule", "data", "engine")
YAMLS = sorted((ROOT / "conf").glob("**/*.yaml"))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT / "conf")))
def test_every_key_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    keys = [line for line in lines if re.match(r"\s*(- )?[\w/ ]+:( |$)", line)]
    headings = {line for line, below in zip(lines, [*lines[1:], ""], strict=True) if below.startswith((" ", "- ")) and line.endswith(":")}
    in_template = [line for line in keys if path.parent.name == "help" and line.startswith(" ")]
    unexplained = [line for line in keys if "  # " not in line and line not in headings and line not in in_template]
    assert unexplained == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_composes_and_its_parts_are_built(cli: CommandLine, group: str) -> None:
    ended = cli("-m", *(TINY if group not in ("model", "data", "schedule") else []), f"{group}={','.join(options(group))}", "dry_run=true")
    assert ended.status == 0, ended
    runs = 1 if group == "engine" else len(options(group))  # a device cannot change the numbers
    assert f"dry run, nothing trained: {runs} run" in ended.out


def test_glob_takes_every_strategy_and_nothing_else(cli: CommandLine) -> None:
    ended = cli("-m", "loss=glob(*)", "dry_run=true")
    assert re.findall(r"resnet20 (\w+) cifar100", ended.out) == options("loss")


@pytest.mark.parametrize(("experiment", "cells"), [("demo", 24), ("seeds", 3), ("proxy", 14)])
def test_experiments_are_sweeps_of_their_own(cli: CommandLine, experiment: str, cells: int) -> None:
    ended = cli(f"experiment={experiment}", "dry_run=true")
    assert f"nothing trained: {cells} run" in ended.out
    assert f"runs/{experiment}/" in ended.out


def test_benchmark_is_three_architectures_three_seeds_and_every_strategy(cli: CommandLine) -> None:
    # Of one strategy here: composing all of them takes a minute, and the README's commands, which are tested too, do it.
    ended = cli("-m", "experiment=benchmark", "loss=equal", "dry_run=true")
    assert "nothing trained: 9 run" in ended.out
    assert "runs/benchmark/" in ended.out
    assert OmegaConf.load(ROOT / "conf" / "experiment" / "benchmark.yaml").hydra.sweeper.params.loss == "glob(*)"


def test_experiments_can_be_narrowed_on_the_command_line(cli: CommandLine) -> None:
    ended = cli("-m", "experiment=demo", "model=resnet20", "loss=haw", "loss.beta=1,3", "study=mine", "dry_run=true")
    assert re.findall(r"resnet20 (\S+) synthetic smoke", ended.out) == ["haw[beta=1]", "haw[beta=3]"]
    assert "runs/mine/" in ended.out


def test_default_is_the_benchmarks_recipe(cli: CommandLine) -> None:
    assert "resnet20 equal cifar100 cosine200 seed 42" in cli("dry_run=true").out


@pytest.mark.parametrize(
    ("arguments", "variants"),
    [
        (["loss=haw,haw_reg", "loss.beta=3"], ["haw[beta=3]", "haw_reg[beta=3]"]),
        (["loss.heads=weighted", "loss=glob(nash*)"], ["nash_mtl[heads=weighted]", "nash_mtl_representation[heads=weighted]"]),
        (["loss=user/file,user/file", "loss.path='my loss.py'"], ["user/file[path=my loss.py@e3b0c4]"]),
        (["loss=haw", "loss.beta=3", "seed=1,2"], ["haw[beta=3]"] * 2),
    ],
)
def test_value_beside_a_swept_choice_is_each_cells(cli: CommandLine, arguments: list[str], variants: list[str]) -> None:
    Path("my loss.py").touch()
    ended = cli("-m", *arguments, "dry_run=true")
    assert ended.status == 0, ended
    assert re.findall(r"resnet20 (.+) cifar100 cosine200", ended.out) == variants


@pytest.fixture
def own_experiment(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """The command line where `experiment=own` is a file of this text."""

    def command(text: str, *arguments: str) -> Ended:
        file = tmp_path / "experiment" / "own.yaml"
        file.parent.mkdir()
        file.write_text(f"# @package _global_\n{text}\n")
        monkeypatch.setattr("mtlsweep.swept.EXPERIMENTS", file.parent)
        return cli("--config-dir", str(tmp_path), *arguments, "experiment=own", "dry_run=true")

    return command


@pytest.mark.parametrize("multirun", [["-m"], []])
def test_value_beside_a_choice_that_an_experiment_sweeps_is_each_cells(own_experiment: Callable[..., Ended], multirun: list[str]) -> None:
    ended = own_experiment("hydra: {mode: MULTIRUN, sweeper: {params: {loss: 'pcgrad,cagrad'}}}", *multirun, "loss.heads=weighted")
    assert re.findall(r"resnet20 (.+) cifar100 cosine200", ended.out) == ["pcgrad[heads=weighted]", "cagrad[heads=weighted]"]


@pytest.mark.parametrize("text", ["study: [", "- study"])
def test_experiment_that_cannot_be_read_is_one_line(own_experiment: Callable[..., Ended], text: str) -> None:
    ended = own_experiment(text, "-m", "loss=pcgrad,cagrad")
    assert (ended.status, ended.err.count("\n"), ended.err[:7]) == (2, 1, "error: ")


def test_value_that_one_of_the_swept_choices_does_not_know_is_a_mistake(cli: CommandLine) -> None:
    ended = cli("-m", "loss=haw,equal", "loss.beta=3", "dry_run=true")
    assert (ended.status, ended.err) == (2, "error: loss.beta: no such key; mtlsweep.losses.equal.Equal has none\n")


def test_interval_in_a_sweep_is_said_to_need_a_search(cli: CommandLine) -> None:
    ended = cli("-m", "loss=haw", "loss.beta=interval(1,4)")
    assert (ended.status, ended.err) == (2, "error: interval(...) is searched, not swept over: it needs hydra/sweeper=optuna\n")


def test_option_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "run.py", tmp_path)
    (tmp_path / "conf" / "loss" / "broken.yaml").write_text("a: [1\n")
    for arguments in (["loss=broken"], ["-m", "loss=equal,broken"]):
        command = [sys.executable, "run.py", *arguments, "dry_run=true"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert ended.returncode == 2
        assert re.fullmatch(r"error: while parsing a flow sequence; in .*broken\.yaml.*\n", ended.stderr)


def test_experiments_that_are_swept_over_say_what_is_left_of_them(cli: CommandLine) -> None:
    note = "note: experiments that are swept over set the settings of runs"
    assert note in cli("-m", "experiment=seeds,proxy", "study=one", "dry_run=true").out
    assert note not in cli("-m", "experiment=seeds", "dry_run=true").out


def test_what_cannot_be_imported_is_one_line_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    command = [sys.executable, str(ROOT / "run.py"), "loss._target_=broken.Loss"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    cause = "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert (ended.returncode, ended.stderr) == (2, f"error: loss._target_=broken.Loss: cannot be imported ({cause})\n")


def test_dry_run_leaves_nothing_behind(cli: CommandLine, tmp_path: Path) -> None:
    cli("-m", *TINY, "seed=1,2", "dry_run=true")
    cli("-m", *TINY, "seed=1,2", "schedule.epochs=-1")
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "runs"])


MISTAKES = [
    (["loss=nope"], "loss=nope: no such option; choose from aligned_mtl, aligned_mtl_ub, atwhc,"),
    (["loss=hawk"], "loss=hawk: no such option (haw?); choose from aligned_mtl,"),
    (["modle=resnet20"], "modle: no such key (model?); choose from checkpoint_seconds, curriculum,"),
    (["epochs=3"], "epochs: no such key (schedule.epochs?); choose from checkpoint_seconds,"),
    (["lanes=2"], "lanes: no such key (hydra.launcher.lanes?); choose from checkpoint_seconds,"),
    (["loss=equal", "loss.betta=3"], "loss.betta: no such key; mtlsweep.losses.equal.Equal has none"),
    (["loss=haw", "loss.betta=3"], "loss.betta: no such key (loss.beta?); mtlsweep.losses.haw.HAW has beta"),
    (["loss=haw", "+loss.betta=3"], "loss.betta: no such key; mtlsweep.losses.haw.HAW has beta"),
    (["loss=haw", "loss.beta=much"], "loss.beta=much: Value 'much' of type 'str' could not be converted to Float"),
    (["loss=haw", "loss.beta=-1", *TINY], "mtlsweep.losses.haw.HAW: beta must be at least 0"),
    (["+nope=3"], "nope: no such key"),
    (["+schedule.nesterov=true"], "schedule.nesterov: no such key; choose from batch_size, epochs,"),
    (["+data.foo=1"], "data.foo: no such key"),
    (["+engine.turbo=true"], "engine.turbo: no such key"),
    (["loss=haw", "loss.beta=nan"], "loss.beta=nan: must be a finite number"),
    (["study=p%A"], "study=p%A: must be a plain folder name, without slashes, spaces and %"),
    (["loss._target_=torch.add"], "loss._target_=torch.add: cannot be called with named arguments"),
    (["runs_dir=afile"], "afile/"),
    (["schedule.epochs=many"], "schedule.epochs=many: Value 'many' of type 'str' could not be converted to Integer"),
    (["schedule.epochs=-1"], "schedule.epochs=-1: must be at least 1"),
    (["schedule.lr=nan"], "schedule.lr=nan: must be a finite number"),
    (["schedule.batch_size=60000"], "schedule.batch_size=60000: larger than the 50000 training images"),
    (["data.train_size=200", "data.validation=100"], "schedule.batch_size=128: larger than the 100 training images"),
    (["data.train_size=200", "data.validation=200"], "data.validation=200: leaves none of 200 training images"),
    (["data.train_size=60000"], "data.train_size=60000: cifar100 has 50000"),
    (["data.name=mnist"], "data.name=mnist: must be one of cifar100, synthetic"),
    (["save=all"], "save=all: Invalid value 'all', expected one of [none, best, last]"),
    (["model.depth=21", *TINY[1:]], "mtlsweep.models.resnet: depth must be 6 n + 2"),
    (["model._target_=nothing.here"], "model._target_=nothing.here: cannot be imported"),
    (["engine.threads=0"], "engine.threads=0: must be at least 1"),
    (["engine.threads=100000"], "engine.threads=100000: must be at most 1024"),
    (["engine.device=tpu", *TINY], "engine.device=tpu: not a device"),
    (["engine.device=cuda:99", *TINY], "engine.device=cuda:99: torch finds"),
    (["study=a/b"], "study=a/b: must be a plain folder name"),
    (["study=-x"], "study=-x: must be a plain folder name"),
    (["loss=user/file"], "loss.path is not set: add loss.path=... to the command"),
    (["loss=user/file", "loss.path=nothing.py"], "nothing.py: no such file"),
    (["data.download=false", "data.root=nowhere"], "CIFAR-100 not found in"),
    (["loss=my_loss.py"], "loss=my_loss.py: no such option; a file is given as loss=user/file loss.path=my_loss.py"),
    (["loss=/a/my_loss.py"], "loss=/a/my_loss.py: no such option; a file is given as loss=user/file loss.path=/a/my_loss.py"),
    (["loss=null"], "Config group override must be a string or a list"),
    (["loss=[equal,haw]"], "loss: a run needs one option of this group, as loss=NAME"),
    (["~model"], "model: a run needs one option of this group"),
    (["~save"], "save: a run needs it, and the command takes it out"),
    (["data.seed=9223372036854775808"], "data.seed=9223372036854775808: must be below 2**63"),
    (["runs_dir="], "runs_dir=: must name a folder"),
    (["runs_dir=a=b"], "runs_dir=a=b: cannot be read; a value with other signs than letters of English, digits and -_./ has two pairs"),
    (["loss=user/file", "loss.path=afile.py", "loss.params.a=1"], "loss.params.a: no such key; a parameter of a strategy of your own is"),
    (["hydra/launcher=nope"], "hydra/launcher=nope: no such option; choose from"),
]


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_mistake_is_one_line_and_status_2_before_anything_trains(
    cli: CommandLine, tmp_path: Path, arguments: list[str], message: str, sweep: bool
) -> None:
    Path("afile").write_text("not a folder")
    ended = cli(*(["-m", "seed=1,2"] if sweep else []), *arguments)
    assert ended.status == 2, ended
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.glob("**/run.json"))


def test_all_faults_of_a_sweep_are_said_at_once(cli: CommandLine) -> None:
    ended = cli("-m", "loss=haw", "loss.beta=1,few,many")
    assert ended.status == 2
    few, many = ended.err.splitlines()
    assert "loss.beta=few: Value 'few'" in few
    assert "loss.beta=many: Value 'many'" in many


def test_sweep_over_what_changes_no_number_is_one_run_and_says_so(cli: CommandLine) -> None:
    sweep = ["-m", *TINY, "dry_run=true"]
    ended = cli(*sweep, "seed=1,2", "logger=none,tensorboard", "engine.graph=true,false")
    assert "note: 8 cells are 2 runs: what a run is does not depend on engine.graph, logger, of which the last value counts" in ended.out
    assert "2 run;" in ended.out
    assert "note" not in cli(*sweep, "seed=1,1,2").out
    assert "note" not in cli(*sweep, "seed=1,2").out


def test_sweep_over_nothing_or_over_studies_is_refused(cli: CommandLine) -> None:
    assert cli("-m", *TINY, "loss=glob(zzz*)").err == "error: the sweep has no cells: a glob(...) in it matches nothing\n"
    assert "study and runs_dir are a sweep's own" in cli("-m", *TINY, "study=a,b").err


def test_settings_that_cannot_change_numbers_make_no_second_run(cli: CommandLine) -> None:
    assert "nothing trained: 2 run" in cli("-m", *TINY, "seed=1,2,1", "save=none,last", "dry_run=true").out


def test_dry_run_finds_what_the_sweep_would(cli: CommandLine) -> None:
    ended = cli("-m", *TINY[1:], "model.depth=20,21,22", "dry_run=true")
    assert ended.status == 2
    assert ended.err.count("depth must be 6 n + 2") == 2


def test_folder_that_the_user_named_is_left_as_it_is(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for end in ("dry_run=true", "schedule.epochs=-1"):
        cli("-m", *TINY, "seed=1,2", "hydra.sweep.dir=mine", end)
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_runs_and_the_record_of_their_sweep_are_both_below_the_home(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cli("-m", *TINY, "schedule.epochs=1", "runs_dir='~/exp'").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert len(list(tmp_path.glob("home/exp/default/.sweeps/*/cells-0.json"))) == 1
    assert len(list(tmp_path.glob("home/exp/default/*/*/*/*/result.json"))) == 1


def test_table_that_cannot_be_made_is_one_line_after_the_runs(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.report", Mock(side_effect=PermissionError(13, "Permission denied", "a/file")))
    ended = cli("-m", *TINY)
    assert (ended.status, ended.err) == (1, "error: a/file: Permission denied\n")
    assert "1 completed" in ended.out


def test_help_is_a_page_with_groups_and_examples(cli: CommandLine) -> None:
    ended = cli("--help")
    assert ended.status == 0
    for group in GROUPS:
        assert re.search(rf"^{group}: .*{options(group)[0]}", ended.out, re.M)
    assert ended.out.count("python run.py") >= 3
    assert "Powered by Hydra" not in ended.out


def test_entry_point_is_light() -> None:
    """Tab completion and submission import it: neither torch nor pandas."""
    code = "import run, sys; print(sorted({'torch', 'pandas', 'mtlsweep.train'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ, check=True)
    assert ended.stdout.strip() == "[]"
