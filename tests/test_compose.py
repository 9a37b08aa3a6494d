"""Cells that share their options are composed together, and are what Hydra composes one by one."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mtlsweep.cli import REFUSALS
from mtlsweep.compose import Composer
from mtlsweep.config import register
from mtlsweep.runs import Cell


class OneByOne(Composer):
    """Composes every cell from the start."""

    def _with_values(self, sweep_config: DictConfig, overrides: Sequence[str]) -> None:
        return None


@pytest.fixture(autouse=True)
def registered() -> None:
    OmegaConf.register_new_resolver("pid", lambda: 1, replace=True)
    register()


@pytest.fixture
def master() -> Iterator[DictConfig]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader().load_configuration("config", ["schedule=smoke"], RunMode.MULTIRUN)


def cells(composer: type[Composer], master: DictConfig, sweep: Sequence[Sequence[str]]) -> list[Cell]:
    one = composer(GlobalHydra.instance().config_loader())
    return [one.sweep_cell(master, overrides) for overrides in sweep]


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed={k}"],
        ["model=resnet56", "loss=haw", "loss.beta={k}.5", "seed={k}"],
        ["seed={k}", "schedule=cosine200", "schedule.epochs={k}"],  # the value counts, whatever the order
        ["seed={k}", "curriculum=step", "data=synthetic", "data.train_size=50{k}", "engine.compile=true"],
        ["++model.width={k}", "loss=haw", "~loss.beta", "seed={k}"],
        ["study=a{k}", "loss=user/file", f"loss.path={ROOT / 'run.py'}", "+loss.params.a={k}"],
    ],
)
def test_cells_are_those_of_hydra(master: DictConfig, overrides: list[str]) -> None:
    sweep = [[text.format(k=k) for text in overrides] for k in (1, 2)]
    assert cells(Composer, master, sweep) == cells(OneByOne, master, sweep)


@pytest.mark.parametrize(
    "axes",
    [
        [["model=resnet20", "model=resnet56", "model=vgg16bn"], ["loss=equal", "loss=haw", "loss=pcgrad"], ["seed=1", "seed=2"]],
        [["data=cifar100", "data=synthetic"], ["schedule=cosine200", "schedule=smoke"]],  # smoke sets sizes of the data, too
        [["experiment=benchmark"], ["loss=equal", "loss=haw", "loss=dwa"], ["curriculum=none", "curriculum=step"]],
        [["experiment=proxy", "experiment=fade"], ["loss=equal", "loss=haw"], ["curriculum=none", "curriculum=step"]],
        [["logger=none", "logger=mlflow"], ["loss=haw", "loss=dwa"], ["seed=1", "save=last"]],
    ],
)
def test_all_combinations_are_those_of_hydra(master: DictConfig, axes: list[list[str]]) -> None:
    sweep = list(product(*axes))
    assert cells(Composer, master, sweep) == cells(OneByOne, master, sweep)


COSINE = "_target_: mtlsweep.curriculum.Cosine\n"
# What each sets is what the first strategy has by itself, so that nothing is seen of it there.
FAR_REACHING = {
    "whole": {"whole": f"# @package _global_\ncurriculum:\n  {COSINE}loss:\n  beta: 2.0\n"},
    "part": {"part": f"defaults:\n  - inner/beta\n{COSINE}", "inner/beta": "# @package _global_\nloss:\n  beta: 2.0\n"},
    "other": {"other": f"defaults:\n  - /engine@_global_.loss: beta\n{COSINE}", "../engine/beta": "beta: 2.0\n"},
    "none of it": {"near": f"defaults:\n  - inner/start@_here_\n  - _self_\n{COSINE}", "inner/start": "start: 0.5\n"},
}


@pytest.mark.parametrize("files", FAR_REACHING.values(), ids=FAR_REACHING)
def test_options_that_say_something_of_other_groups_are_left_to_hydra(tmp_path: Path, files: dict[str, str]) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "curriculum" / "inner").mkdir()
    for name, text in files.items():
        (tmp_path / "conf" / "curriculum" / f"{name}.yaml").write_text(text)
    own = (tmp_path / "conf" / "loss" / "haw.yaml").read_text().replace("2.0", "3.0")
    (tmp_path / "conf" / "loss" / "own.yaml").write_text(own)
    option = f"curriculum={next(iter(files))}"
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        master = GlobalHydra.instance().config_loader().load_configuration("config", [], RunMode.MULTIRUN)
        for first, second in ((option, "curriculum=none"), ("curriculum=none", option)):
            sweep = list(product([first, second], ["loss=haw", "loss=own"]))
            assert cells(Composer, master, sweep) == cells(OneByOne, master, sweep)


def test_values_of_one_cell_do_not_reach_the_next(master: DictConfig) -> None:
    first, second = cells(Composer, master, [["loss=haw", "seed=1", "loss.beta=3"], ["loss=haw", "seed=2"]])
    assert (first.settings["loss"]["beta"], second.settings["loss"]["beta"]) == (3.0, 2.0)


@pytest.mark.parametrize(
    "wrong", ["seed=x", "schedule.epoch=3", "loss.bta=1", "loss.beta.a=1", "seeed=1", "seed@model=1", "model.depth=[1]"]
)
def test_what_is_wrong_is_said_in_hydras_words(master: DictConfig, wrong: str) -> None:
    said = []
    for composer in (Composer, OneByOne):
        with pytest.raises(REFUSALS) as error:
            cells(composer, master, [["loss=haw", "seed=1"], ["loss=haw", wrong]])
        said.append(repr(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ([["loss=equal", "loss=dwa"], [f"seed={seed}" for seed in range(5)]], [["loss=equal"], ["loss=dwa"]]),
        (
            [["experiment=benchmark"], ["loss=equal", "loss=dwa"], ["seed=1", "seed=2"]],
            [["experiment=benchmark", "loss=equal"], ["experiment=benchmark", "loss=dwa"]],
        ),
        (
            [["model=resnet20", "model=resnet56"], ["loss=equal", "loss=dwa", "loss=haw"]],
            [
                ["model=resnet20", "loss=equal"],
                ["model=resnet20", "loss=dwa"],
                ["model=resnet20", "loss=haw"],
                ["model=resnet56", "loss=equal"],
            ],
        ),
    ],
)
def test_options_are_composed_once(
    master: DictConfig, monkeypatch: pytest.MonkeyPatch, axes: list[list[str]], expected: list[list[str]]
) -> None:
    loader = GlobalHydra.instance().config_loader()
    composed: list[list[str]] = []
    plain = loader.load_configuration

    def counted(config_name: str, overrides: list[str], run_mode: RunMode, **options: bool) -> DictConfig:
        composed.append([text for text in overrides if text != "schedule=smoke"])
        return plain(config_name, overrides, run_mode, **options)

    monkeypatch.setattr(loader, "load_configuration", counted)
    cells(Composer, master, list(product(*axes)))
    options = ["model=resnet20", "loss=equal", "curriculum=none"]  # what is in their files is asked once
    assert composed == [expected[0], options, *expected[1:]]
