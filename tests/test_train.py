"""Runs in this process: reproducible, resumable, honest about what they found."""

import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from conftest import EVERY_EPOCH, TINY, CommandLine, needs_real_data, only_run, real_data
from torch import nn
from trained import interrupt_after, metrics, result, train

from mtlsweep.runs import METRICS, TIME_COLUMNS
from mtlsweep.runs.schema import Result
from mtlsweep.train import checkpoint
from mtlsweep.train.log import final_line, train_line
from mtlsweep.train.schedule import learning_rate


def test_files_of_a_completed_run_are_as_documented(cli: CommandLine) -> None:
    run = train(cli, "engine.precision=fp32")
    assert {path.name for path in run.iterdir()} == {"run.json", "config.yaml", "attempts", "metrics.csv", "result.json", "run.log"}
    found = result(run)
    assert set(found) == set(Result.__dataclass_fields__)
    rows = metrics(run)
    assert set(rows[0]) == set(METRICS) - set(TIME_COLUMNS)
    accuracies = [float(row["test_fine_acc"]) for row in rows]
    assert found["best_fine_acc"] == max(accuracies)
    assert found["best_epoch"] == accuracies.index(max(accuracies)) + 1
    assert found["last_fine_acc"] == accuracies[-1]
    assert found["status"] == "completed"
    assert found["engine"]["precision"] == "fp32"


def test_same_seed_gives_the_same_numbers_and_another_seed_others(cli: CommandLine) -> None:
    first, again, other = (metrics(train(cli, f"seed={seed}", study=study)) for seed, study in ((1, "a"), (1, "b"), (2, "c")))
    assert first == again
    assert first != other


KEEPS_STATE_EVERYWHERE = """
from __future__ import annotations
import random
from dataclasses import dataclass
import numpy as np
import torch
from torch import nn

@dataclass
class Memory:
    losses: list

class MultiTaskLoss(nn.Module):
    def __init__(self, num_tasks=2):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.all = [self.weight]
        self.register_buffer("mean", None)
        self.register_buffer("passing", torch.zeros(()), persistent=False)
        self.memory = Memory([])

    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        self.memory.losses.append(coarse_loss.detach())
        if self.mean is None:
            self.mean = fine_loss.detach()
            self.register_buffer("late", torch.ones(()))
        self.mean = 0.9 * self.mean + 0.1 * fine_loss.detach()
        self.late += 0.1
        self.passing += 0.1
        noise = torch.rand(()) + random.random() + np.random.rand()
        scale = torch.stack(self.memory.losses).mean() * self.mean * self.late + self.passing
        return fine_loss + torch.sigmoid(self.all[0]) * (1 + noise) * coarse_loss / scale
"""


def interrupted_then_resumed(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, steps: int, *arguments: str) -> Path:
    """A run that Ctrl-C ended after so many steps (four an epoch) and that went on; it has been seen to equal an undisturbed one."""
    undisturbed = metrics(train(cli, *arguments, EVERY_EPOCH, study="undisturbed"))
    with monkeypatch.context() as patch:
        interrupt_after(steps, patch)
        assert cli(*TINY, *arguments, EVERY_EPOCH, "study=s").status == 130
    run = train(cli, *arguments, EVERY_EPOCH)
    assert metrics(run) == undisturbed
    return run


@pytest.mark.parametrize("loss", ["dwa", "pcgrad", "gradnorm", "haw_reg"])
@pytest.mark.parametrize("steps", [1, 4, 6])
def test_resumed_run_equals_the_undisturbed(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, loss: str, steps: int) -> None:
    run = interrupted_then_resumed(cli, monkeypatch, steps, f"loss={loss}", "curriculum=cosine")
    resumed = steps >= 4
    assert ("resuming after epoch" in (run / "run.log").read_text()) == resumed
    assert (result(run)["first_attempt"], result(run)["attempts"]) == (1 if resumed else 2, 2)


def test_users_strategy_may_keep_its_state_anywhere(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In plain attributes, late buffers, a list that holds a parameter, objects of its own; and draw from any global generator."""
    Path("my_loss.py").write_text(KEEPS_STATE_EVERYWHERE)
    run = interrupted_then_resumed(cli, monkeypatch, 6, "loss=user/file", "loss.path=my_loss.py")
    assert "resuming after epoch 1 of 3" in (run / "run.log").read_text()


def test_strategy_that_cannot_be_saved_begins_again(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_loss.py").write_text(KEEPS_STATE_EVERYWHERE.replace("self.all = [self.weight]", "self.all, self.f = [self.weight], lambda: 0"))
    run = interrupted_then_resumed(cli, monkeypatch, 6, "loss=user/file", "loss.path=my_loss.py")
    assert "attribute f cannot be saved" in (run / "run.log").read_text()


@pytest.mark.parametrize("added", ["ema = torch.nn.Linear(1, 1)", "late = torch.nn.Parameter(torch.zeros(()))"])
def test_strategy_that_grows_in_training_begins_again(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, added: str) -> None:
    grows = f"""
import torch
class MultiTaskLoss(torch.nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        if not hasattr(self, "{added.split()[0]}"):
            self.{added}
        return fine_loss + coarse_loss
"""
    Path("my_loss.py").write_text(grows)
    run = interrupted_then_resumed(cli, monkeypatch, 6, "loss=user/file", "loss.path=my_loss.py")
    assert f"attribute {added.split()[0]}" in (run / "run.log").read_text()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_checkpoint_of_something_else_is_damaged(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(6, patch)
        cli(*TINY, EVERY_EPOCH, "study=s")
    (path,) = Path("runs/s").glob("**/checkpoint.pt")
    torch.save({"model": {}}, path) if not content else path.write_bytes(content)
    assert result(train(cli, EVERY_EPOCH))["status"] == "completed"


@pytest.mark.parametrize("error", [OSError("input/output error"), MemoryError(), torch.OutOfMemoryError("out of memory")])
def test_checkpoint_that_cannot_be_read_now_is_kept(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*arguments: Any, **options: Any) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        interrupt_after(6, patch)
        cli(*TINY, EVERY_EPOCH, "study=s")
    (path,) = Path("runs/s").glob("**/checkpoint.pt")
    with monkeypatch.context() as patch:
        where, name = (Path, "read_bytes") if isinstance(error, OSError) else (torch, "load")
        patch.setattr(where, name, fail)
        assert cli(*TINY, EVERY_EPOCH, "study=s").status == 1
    assert "resuming after epoch 1 of 3" in cli(*TINY, EVERY_EPOCH, "study=s").out
    assert not path.exists()


def test_tensors_of_a_checkpoint_go_to_the_device_of_the_run() -> None:
    storage = Mock()
    assert checkpoint._place(torch.device("cpu"), storage, "cuda:1") is storage
    assert checkpoint._place(torch.device("cuda", 0), storage, "cpu") is storage
    assert checkpoint._place(torch.device("cuda", 0), storage, "cuda:1") is storage.cuda.return_value
    storage.cuda.assert_called_once_with(0)


@pytest.mark.parametrize(
    ("first", "second", "both"), [(False, False, False), (True, False, True), (False, True, True), (False, None, None), (None, True, True)]
)
def test_result_says_of_every_attempt_whether_its_code_was_changed(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, first: bool | None, second: bool | None, both: bool | None
) -> None:
    assert of_two_attempts(cli, monkeypatch, {"dirty": first}, {"dirty": second})["dirty"] is both


ORIGIN = {"commit": "a" * 40, "dirty": False, "torch": "2.11", "device": "an old one"}


@pytest.mark.parametrize("changed", [[], ["device"], ["commit", "torch"]])
def test_result_says_what_a_run_was_continued_with(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, changed: list[str]) -> None:
    found = of_two_attempts(cli, monkeypatch, ORIGIN, ORIGIN | dict.fromkeys(changed, "new"))
    assert (found["attempts"], found["changed_midway"]) == (2, changed)


def test_a_checkpoint_of_an_earlier_version_says_only_whether_its_code_was_changed() -> None:
    earlier = checkpoint.Progress.of({"progress": {"rows": [], "engine": {}, "dirty": True}})
    earlier.count_in(ORIGIN)
    assert earlier.origins == [{"dirty": True}, ORIGIN]
    assert checkpoint.Progress.of({"progress": vars(earlier)}) == earlier


def of_two_attempts(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, *origins: dict[str, Any]) -> dict[str, Any]:
    """The result of a run that was interrupted in its second epoch, and continued by another process."""
    with monkeypatch.context() as patch:
        patch.setattr("mtlsweep.train.run.origin", lambda device: origins[0])
        interrupt_after(6, patch)
        cli(*TINY, EVERY_EPOCH, "study=s")
    monkeypatch.setattr("mtlsweep.train.run.origin", lambda device: origins[1])
    return result(train(cli, EVERY_EPOCH))


def test_number_of_threads_is_the_runs_own(cli: CommandLine) -> None:
    before = torch.get_num_threads()
    assert result(train(cli, "engine.threads=2", study="a"))["engine"]["threads"] == 2
    assert result(train(cli, study="b"))["engine"]["threads"] == before
    torch.set_num_threads(before)


def test_damaged_checkpoint_costs_the_epochs_but_not_the_run(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = metrics(train(cli, study="undisturbed"))
    with monkeypatch.context() as patch:
        interrupt_after(6, patch)
        cli(*TINY, EVERY_EPOCH, "study=s")
    (path,) = Path("runs/s").glob("**/checkpoint.pt")
    path.write_bytes(path.read_bytes()[:1000])
    run = train(cli, EVERY_EPOCH)
    assert metrics(run) == undisturbed
    assert "is damaged" in (run / "run.log").read_text()


def test_resumed_run_keeps_the_engine_it_began_with(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(6, patch)
        cli(*TINY, EVERY_EPOCH, "study=s")
    (path,) = Path("runs/s").glob("**/checkpoint.pt")
    saved = torch.load(path, weights_only=False)
    saved["progress"]["engine"] |= {"channels_last": False, "threads": 2}
    torch.save(saved, path)
    engine = result(train(cli, EVERY_EPOCH))["engine"]
    assert (engine["channels_last"], engine["threads"]) == (False, 2)


def test_loss_that_is_no_number_ends_the_run_as_diverged(cli: CommandLine) -> None:
    ended = cli(*TINY, "schedule.lr=1e30")
    assert ended.status == 0
    run = only_run(Path())
    found = result(run)
    assert found["status"] == "diverged"
    assert found["reason"] == "a loss became NaN or infinite in epoch 1"
    assert found["epochs"] == 1
    assert "diverged" in ended.out
    assert not math.isfinite(float(metrics(run)[-1]["train_loss"]))
    again = cli(*TINY, "schedule.lr=1e30")
    assert again.status == 0
    assert "done already" in again.out


def test_epoch_is_selected_on_the_validation_part(cli: CommandLine) -> None:
    run = train(cli, "data.train_size=200", "data.validation=100", "schedule.epochs=4")
    rows, found = metrics(run), result(run)
    validated = [float(row["val_fine_acc"]) for row in rows]
    selected = validated.index(max(validated))
    assert (found["selected_epoch"], found["selected_val_acc"]) == (selected + 1, validated[selected])
    assert found["selected_fine_acc"] == float(rows[selected]["test_fine_acc"])


@pytest.mark.parametrize(("save", "kept"), [("none", []), ("last", ["last.pt"]), ("best", ["best.pt"])])
def test_weights_are_kept_on_request(cli: CommandLine, save: str, kept: list[str]) -> None:
    run = train(cli, f"save={save}", EVERY_EPOCH)
    assert [path.name for path in run.glob("*.pt")] == kept
    if kept:
        saved = torch.load(run / kept[0])
        assert saved["epoch"] == (result(run)["best_epoch"] if save == "best" else 3)
        assert "fine_head.weight" in saved["model"]


def test_weights_that_were_not_kept_in_the_best_epoch_are_said_to_be_missing(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was before the interruption, and nobody had asked for them then."""
    monkeypatch.setattr("mtlsweep.train.run.best", lambda rows, metric: rows[0])
    with monkeypatch.context() as patch:
        interrupt_after(5, patch)
        assert cli(*TINY, EVERY_EPOCH, "schedule.epochs=3").status == 130
    (only_run(Path()) / "best.pt").write_text("damaged")
    ended = cli(*TINY, EVERY_EPOCH, "schedule.epochs=3", "save=best")
    assert ended.status == 0
    assert "warning: the weights of the best epoch, 1, were not kept" in ended.out
    assert "warning: the weights" not in cli(*TINY, EVERY_EPOCH, "schedule.epochs=3", "save=best", "rerun=all").out
    assert "warning: the weights" not in cli(*TINY, EVERY_EPOCH, "schedule.epochs=2", "save=last").out


def test_strategys_parameters_are_trained(cli: CommandLine) -> None:
    rows = metrics(train(cli, "loss=uncertainty"))
    assert {row["fine_weight"] for row in rows} != {"1"}


def test_conflict_is_recorded_where_gradients_are_known(cli: CommandLine) -> None:
    known, unknown = metrics(train(cli, "loss=pcgrad", study="a")), metrics(train(cli, study="b"))
    assert all(0 <= float(row["conflict_rate"]) <= 1 and -1 <= float(row["cosine"]) <= 1 for row in known)
    assert {row["conflict_rate"] + row["cosine"] for row in unknown} == {""}


def test_curriculum_scales_the_coarse_loss(cli: CommandLine) -> None:
    rows = metrics(train(cli, "curriculum=polynomial"))
    assert [float(row["coarse_weight"]) for row in rows] == pytest.approx([1, (2 / 3) ** 2, (1 / 3) ** 2], rel=1e-5)
    assert float(rows[1]["train_loss"]) == pytest.approx(
        float(rows[1]["fine_loss"]) + (2 / 3) ** 2 * float(rows[1]["coarse_loss"]), rel=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["loss=imtl_g", "curriculum=linear"], True),
        (["loss=imtl_g"], False),
        (["loss=pcgrad", "curriculum=linear"], False),
        (["loss=fairgrad", "loss.alpha=1", "curriculum=step"], True),
    ],
)
def test_a_fade_that_changes_nothing_is_remarked_upon(cli: CommandLine, arguments: list[str], said: bool) -> None:
    ended = cli(*TINY, "schedule.epochs=2", *arguments)
    assert ended.status == 0, ended
    assert ("note: the direction of this strategy's update of the trunk does not depend on" in ended.out) == said


@pytest.mark.parametrize(("epochs", "said"), [(2, True), (3, False)])
def test_run_that_ends_within_the_warm_up_says_so(cli: CommandLine, epochs: int, said: bool) -> None:
    ended = cli(*TINY, f"schedule.epochs={epochs}", "loss=dwa")
    assert ended.status == 0, ended
    assert ("note: the first 2 epochs of this strategy are its warm-up" in ended.out) == said


def test_what_the_engine_chose_is_said_once(cli: CommandLine) -> None:
    ended = cli("-m", *TINY, "schedule.epochs=1", "seed=1,2", "engine.device=cpu", "engine.precision=fp32", "engine.threads=1")
    assert ended.out.count("engine: cpu, fp32, channels last, not compiled, 1 thread") == 1


def test_bf16_is_an_option_that_shows_in_the_result(cli: CommandLine) -> None:
    run = train(cli, "engine.precision=bf16", "engine.channels_last=false")
    assert result(run)["engine"]["precision"] == "bf16"
    assert all(math.isfinite(float(row["train_loss"])) for row in metrics(run))


@needs_real_data
def test_real_images_train(cli: CommandLine) -> None:
    arguments = ["model.depth=8", "model.width=4", "schedule=smoke", "data.train_size=300", f"data.root={real_data()}"]
    ended = cli(*arguments)
    assert ended.status == 0, ended
    assert "Final metrics (resnet20-cifar100mt): test_acc_resnet20-cifar100mt=" in ended.out
    losses = [float(row["fine_loss"]) for row in metrics(only_run(Path()))]
    assert losses == sorted(losses, reverse=True)


def test_learning_rate_is_the_benchmarks() -> None:
    schedule = {"lr": 0.1, "epochs": 200}
    assert learning_rate(schedule, 0) == 0.1
    logged = {epoch: f"{learning_rate(schedule, epoch):.6f}" for epoch in (160, 170, 180, 190, 200)}
    assert logged == {160: "0.009549", 170: "0.005450", 180: "0.002447", 190: "0.000616", 200: "0.000000"}
    reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=200)
    for epoch in range(200):
        assert learning_rate(schedule, epoch) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        reference.step()
        scheduler.step()


def test_lines_are_the_benchmarks() -> None:
    row = {"epoch": 160, "train_loss": -1.95091, "train_acc": 71.881, "test_fine_acc": 61.858}
    expected = "TRAIN_METRICS: epoch=160 train_loss=-1.9509 train_acc=71.88 test_acc=61.86 lr=0.009549"
    assert train_line(row, 0.0095491502) == expected
    options = {"model": "resnet20", "data": "cifar100"}
    expected = "Final metrics (resnet20-cifar100mt): test_acc_resnet20-cifar100mt=67.10"
    assert final_line(options, {"status": "completed", "best_fine_acc": 67.1}) == expected


def test_ordinary_modules_can_be_saved_whole() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert checkpoint.unsaved(module, checkpoint.parts(module)) == []
