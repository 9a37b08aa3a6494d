"""Layers and heads by kernels of our own: what they are used for, and that all strategies learn by them what they learn by torch's.

The kernels themselves are executed by Triton's interpreter (`interpreted.py`), and compiled for a GPU that need not be there
(`compiled_for_a_gpu.py`).
"""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import EVERY_EPOCH, ROOT, TINY, CommandLine
from recorded import CPU, built_in_images, every_kind, make
from small_network import batch, network
from test_engine import AUTO
from test_few_channels import BF16, RECIPE
from torch import nn
from torch.nn.functional import linear
from trained import interrupt_after

from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads, resnet, vgg_bn
from mtlsweep.train import build as build_module
from mtlsweep.train import convolutions, epoch, fused, fused_stack, fused_trunk
from mtlsweep.train import run as run_module
from mtlsweep.train.build import build_trainer
from mtlsweep.train.engine import Engine, resolve
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.fused_heads import FusedHeads
from mtlsweep.train.network import Fused, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.run import LOST
from mtlsweep.train.steps import Moment, StepMetrics
from mtlsweep.train.trunk import PullBack
from mtlsweep.train.two_gradients import flat

pytest.importorskip("triton", reason="no Triton, which comes with torch for GPUs")

from mtlsweep.train.kernels import two_losses, weight_sums
from mtlsweep.train.kernels.two_losses import Head


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built is what a GPU gets, though it is on the processor."""
    monkeypatch.setattr(build_module, "on_host", lambda engine: False)


@pytest.mark.processes
def test_all_kernels_can_be_compiled_for_a_gpu_and_those_that_begin_early_wait(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = str(Path(__file__).with_name("compiled_for_a_gpu.py"))
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    with_sums = ("_convolve", "_enter", "_enter_from_pool", "_enter_window", "_losses", "_sum")
    others = (
        "_finish",
        "_infer",
        "_differentiate",
        "_differentiate_window",
        "_gradients",
        "_output",
        "_add",
        "_convolve_places",
        "_weight_gradient_parts",
        "_weight_gradient_parts_of_rows",
        "_crop_flip",
    )
    assert set(ended.stdout.splitlines()) == {
        *(f"{name} lets the next begin" for name in with_sums),
        *(f"{name} early" for name in others),
        *("_correlation", "_weight_gradient_places", "_weight_gradient_sum"),
    }


def losses_in_torch(features: torch.Tensor, heads: tuple[Head, Head], ticket: torch.Tensor) -> tuple[torch.Tensor, ...]:
    logits = [linear(features, weight, bias) for weight, bias, _ in heads]
    log = [values.log_softmax(1) for values in logits]
    picked = [values.gather(1, head.labels[:, None]).mean().neg() for values, head in zip(log, heads, strict=True)]
    slopes = [values.exp() - nn.functional.one_hot(head.labels, values.shape[1]) for values, head in zip(log, heads, strict=True)]
    return *picked, (logits[0].argmax(1) == heads[0].labels).sum().to(features.dtype), torch.cat(slopes, 1)


def gradients_in_torch(
    features: torch.Tensor, heads: tuple[Head, Head], slopes: torch.Tensor, arrives: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    of_logits = slopes.split([len(head.bias) for head in heads], 1)
    scaled = [values * factor / len(features) for values, factor in zip(of_logits, arrives, strict=True)]
    of_features = sum(values @ head.weight for values, head in zip(scaled, heads, strict=True))
    assert isinstance(of_features, torch.Tensor)
    return of_features, *(gradient for values in scaled for gradient in (values.T @ features, values.sum(0)))


class InTorch(fused_trunk.FusedTrunk):
    """A stand-in without kernels, of any trunk."""

    def __init__(self, trunk: nn.Module) -> None:
        self.trunk = trunk

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        features = self.trunk(images)
        assert isinstance(features, torch.Tensor)
        return features

    def pass_through(self, images: torch.Tensor) -> tuple[torch.Tensor, PullBack]:
        features, parameters = self(images), list(self.trunk.parameters())

        def pull_back(arrives: torch.Tensor) -> torch.Tensor:
            gradients = (torch.autograd.grad(features, parameters, one, retain_graph=True) for one in arrives)
            return torch.stack([flat(one, parameters) for one in gradients])

        return features.detach(), pull_back


def two_steps(strategy: Strategy, fuses: bool) -> tuple[list[torch.Tensor | None], StepMetrics]:
    """The gradients of the second of two steps in the middle of a run, and what it told."""
    model = network()
    strategy.generator = torch.Generator().manual_seed(0)
    strategy.begin_epoch(1, 10, CPU)
    kernels = Fused(InTorch(model.trunk), FusedHeads(model)) if fuses else None
    program = step_program(Network(model, fused=kernels), strategy)
    for step in range(2):
        model.zero_grad()
        outcome = program(batch(), Moment(1, 10, torch.tensor(0.5), step))
    return [parameter.grad for parameter in model.parameters()], outcome


@every_kind
@pytest.mark.usefixtures("double_precision")
def test_both_losses_as_one_operation_give_every_strategy_its_gradients(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_losses, "losses", losses_in_torch)
    monkeypatch.setattr(two_losses, "gradients", gradients_in_torch)
    expected, told = two_steps(make(name, **options), fuses=False)
    found, said = two_steps(make(name, **options), fuses=True)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)  # a parameter without a gradient does not decay
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(torch.stack(said), torch.stack(told), rtol=1e-7, atol=1e-10, equal_nan=True)


def test_resnets_of_16_to_64_channels_and_vggs_can_be_fused_and_the_heads_of_other_networks() -> None:
    assert all(fused.fits_wholly(model) for model in (*map(resnet, (8, 20, 56)), *map(vgg_bn, (11, 16))))
    assert fused.fits(wide())
    assert not fused.fits_wholly(wide())
    assert not fused.fits(network())  # of four features


def wide() -> TwoHeads:
    return resnet(8, width=32)


@pytest.mark.parametrize(
    ("model", "layers", "compiled", "expected"),
    [
        (resnet(8), True, False, fused_trunk.FusedTrunk),
        (resnet(8), True, True, fused_trunk.FusedTrunk),
        (resnet(8), False, False, None),
        (vgg_bn(11), True, False, fused_stack.FusedStack),
        (vgg_bn(11), True, True, None),
        (vgg_bn(11), False, False, None),
    ],
)
def test_a_trunk_is_fused_where_its_layers_are_wanted_and_a_vggs_where_nothing_is_compiled(
    model: TwoHeads, layers: bool, compiled: bool, expected: type | None
) -> None:
    made = fused.fuse(model, torch.bfloat16, layers, compiled=compiled)
    assert made is not None
    assert type(made.trunk) is (expected or type(None))


class OfAUser(nn.Module):
    """Looks for the parameters that the fine loss depends on, as the benchmark's own PCGrad does."""

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return fine_loss + coarse_loss


@pytest.mark.parametrize(
    ("model", "strategy", "expected"),
    [
        (resnet(8), make("equal"), (True, True)),
        (resnet(8), OfAUser(), (True, False)),
        (vgg_bn(11), make("equal"), (True, True)),
        (vgg_bn(11), OfAUser(), (True, False)),
        (wide(), make("equal"), (False, True)),
        (wide(), OfAUser(), (False, False)),
    ],
)
def test_each_loss_has_a_graph_of_its_own_for_a_strategy_of_a_users(
    model: TwoHeads, strategy: nn.Module, expected: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "try_out", lambda *arguments: None)
    trainer = build_trainer(model, strategy, built_in_images(CPU), replace(BF16, fused=True), RECIPE, seed=1)
    assert (bool(trainer.fused and trainer.fused.trunk), bool(trainer.fused and trainer.fused.losses)) == expected
    assert trainer.engine.fused is any(expected)


def test_second_derivatives_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be 0."""
    monkeypatch.setattr(two_losses, "losses", losses_in_torch)
    monkeypatch.setattr(two_losses, "gradients", gradients_in_torch)
    model = network()
    losses = Network(model, fused=Fused(None, FusedHeads(model))).losses(model.trunk(batch().images), batch())
    torch.autograd.grad(losses.fine, model.fine_head.weight, retain_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivatives: engine\.fused=false has them"):
        torch.autograd.grad(losses.fine, model.fine_head.weight, create_graph=True)


@pytest.mark.parametrize("wrong", [False, True])
def test_heads_are_tried_out_whatever_the_trunk_draws_and_whichever_parameter_is_frozen(
    wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradients(*given: Any) -> tuple[torch.Tensor, ...]:
        return tuple(-gradient if wrong else gradient for gradient in gradients_in_torch(*given))

    monkeypatch.setattr(two_losses, "losses", losses_in_torch)
    monkeypatch.setattr(two_losses, "gradients", gradients)
    model = network()
    model.trunk.append(nn.Dropout(0.5))  # type: ignore[operator]
    model.fine_head.weight.requires_grad_(False)
    kernels = Fused(None, FusedHeads(model))
    if wrong:
        with pytest.raises(RuntimeError, match="a gradient: 2 of its length from torch's"):
            fused.try_out(Network(model), kernels, batch())
    else:
        fused.try_out(Network(model), kernels, batch())


def test_with_fused_heads_a_trunk_is_compiled_for_one_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both as one pass would have heads of its own, and the epoch's last mini-batch others."""
    asked = list[frozenset[int]]()
    monkeypatch.setattr(epoch, "compile_network", lambda *arguments: asked.append(arguments[-1]))
    trainer = build_trainer(resnet(8), make("pcgrad"), built_in_images(CPU), replace(BF16, triton=False), RECIPE, seed=1)
    for fuses in (False, True):
        trainer.engine = replace(trainer.engine, fused=fuses)
        trainer.compile()
    assert asked == [frozenset({2}), frozenset({1})]


@pytest.mark.parametrize(
    ("changed", "expected"), [({}, True), ({"triton": False}, True), ({"precision": "fp32"}, False), ({"fused": False}, False)]
)
def test_fused_is_chosen_on_a_gpu_in_bf16(changed: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    asked = AUTO | {"device": "cuda"} | changed
    assert resolve(asked).fused is expected
    assert resolve(asked | {"fused": True} | changed).fused is expected


def test_the_layers_of_a_vgg_are_fused_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled or not: it has not been measured."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    auto, asked = AUTO | {"device": "cuda"}, AUTO | {"device": "cuda", "compile": False}
    for steps in (100, 100_000):
        assert [resolve(given, steps, "mtlsweep.models.vgg_bn").triton for given in (auto, asked)] == [False, True]
        assert [resolve(given, steps, "mtlsweep.models.resnet").triton for given in (auto, asked)] == [True, True]


class Ghost(nn.BatchNorm2d):
    """Normalises in another way."""


def _ghost(model: TwoHeads) -> None:
    model.trunk[1] = Ghost(16)  # type: ignore[operator]


def _none(model: TwoHeads) -> None:
    model.trunk[3].bn1 = nn.Identity()  # type: ignore[index]


def _affine(model: TwoHeads) -> None:
    model.trunk[1] = nn.BatchNorm2d(16, affine=False)  # type: ignore[operator]


def _statistics(model: TwoHeads) -> None:
    model.trunk[1] = nn.BatchNorm2d(16, track_running_stats=False)  # type: ignore[operator]


def _average(model: TwoHeads) -> None:
    model.trunk[1] = nn.BatchNorm2d(16, momentum=None)  # type: ignore[operator]


def _bias(model: TwoHeads) -> None:
    model.fine_head = nn.Linear(64, 100, bias=False)


def _more(model: TwoHeads) -> None:
    model.trunk.append(nn.Dropout(0.1))  # type: ignore[operator]


def _hook(model: TwoHeads) -> None:
    model.trunk[3].register_forward_hook(lambda *_: None)  # type: ignore[index]


def _backward_hook(model: TwoHeads) -> None:
    model.trunk[3].register_full_backward_hook(lambda *_: None)  # type: ignore[index]


@pytest.mark.parametrize("change", [_affine, _statistics, _average, _bias, _more, _hook, _backward_hook, _ghost, _none])
def test_other_models_are_not_fused(change: Any) -> None:
    model = resnet(8)
    change(model)
    assert not fused.fits_wholly(model)
    assert fused.fits(model) == (change is not _bias)


@pytest.mark.parametrize(
    ("model", "kind"), [(resnet(20), fused_trunk.FusedTrunk), (vgg_bn(16), fused_stack.FusedStack)], ids=["resnet", "vgg"]
)
def test_layers_are_found_in_the_order_in_which_they_are_executed(model: TwoHeads, kind: Any) -> None:
    executed = list[nn.Module]()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(lambda layer, *_: executed.append(layer))
    model.trunk(torch.zeros(1, 3, 32, 32))
    kernels = kind(model.trunk, torch.float32)
    assert [module for layer in kernels.layers for module in layer[:2]] == executed
    assert all(one is other for one, other in zip(kernels.parameters, model.trunk.parameters(), strict=True))


def test_shortcuts_and_pools_are_where_a_network_has_them() -> None:
    shortcuts = [layer.shortcut for layer in fused_trunk.layers_of(resnet(20).trunk) if layer.shortcut]
    assert shortcuts[2:5] == [(1, 0), (2, 8), (1, 0)]
    assert [layer.window for layer in fused_stack.layers_of(vgg_bn(16).trunk)] == [1, 2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2]


def _pool(model: TwoHeads, pool: nn.Module, place: int = 3) -> None:
    model.trunk[place] = pool  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: _pool(model, nn.MaxPool2d(3, 2)),
        lambda model: _pool(model, nn.MaxPool2d(2, ceil_mode=True)),
        lambda model: _pool(model, nn.MaxPool2d((2, 2), stride=(2, 2))),  # as good as 2, but not looked into
        lambda model: _pool(model, nn.AvgPool2d(2)),
        lambda model: _pool(model, nn.Conv2d(3, 64, 3, padding=1), place=0),
        lambda model: _pool(model, nn.Conv2d(3, 64, 3, padding=1, bias=False, stride=2), place=0),
        lambda model: _pool(model, nn.Conv2d(3, 64, 5, padding=2, bias=False), place=0),
        lambda model: _pool(model, nn.GELU(), place=2),
        lambda model: _pool(model, Ghost(64), place=1),
        lambda model: _pool(model, nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2))),
        _more,
        lambda model: model.trunk[3].register_forward_hook(lambda *_: None),
    ],
)
def test_other_networks_than_vggs_are_not_fused(change: Any) -> None:
    model = vgg_bn(11)
    change(model)
    assert fused.fits(model)
    assert not fused.fits_wholly(model)


@pytest.mark.parametrize("channels", [(3, 64), (3, 64, 96), (3, 128, 64), (4, 64, 64), (3, 64, *(64,) * 5)])
def test_a_stack_is_of_whole_blocks_of_channels_and_begins_with_an_image(channels: tuple[int, ...]) -> None:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert len(fused_stack.layers_of(trunk)) == len(channels) - 1
    assert not fused_stack.fits(trunk)


@pytest.mark.parametrize(
    ("batch_size", "images", "expected"), [(128, 50_000, [16]), (10, 105, [16, 17]), (9, 90, [17]), (128, 99, [17]), (9, 94, [16, 17])]
)
def test_kernels_are_tried_out_with_as_even_a_number_of_images_as_they_train(batch_size: int, images: int, expected: list[int]) -> None:
    assert build_module._tried(batch_size, images) == expected


def test_parts_of_gradients_may_be_more_than_32_bits_count() -> None:
    planned = weight_sums.plan([weight_sums.Summed(70_000, 36_864, 0)] * 2, CPU)
    assert planned[:, 0].max() == 70_000 * 36_864 + 36_864 - weight_sums.BLOCK


FUSED = replace(BF16, fused=True)


def built(engine: Engine, said: list[str], monkeypatch: pytest.MonkeyPatch, found: torch.Tensor | Exception) -> Trainer:
    """A run whose convolutions are said to work, and whose kernels give a gradient or fail."""

    def gradient(network: Network, *_: object) -> torch.Tensor:
        if network._fused is None:
            return torch.ones(3)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(convolutions, "try_out", lambda *_: None)
    monkeypatch.setattr(fused, "_gradient", gradient)
    monkeypatch.setattr(fused_trunk.FusedTrunk, "infer", lambda self, images: torch.ones(len(images), 64))
    monkeypatch.setattr(Network, "_eager_features", lambda self, images: torch.ones(len(images), 64))
    return build_trainer(resnet(8), make("equal"), built_in_images(CPU), engine, RECIPE, seed=1, say=said.append)


def test_a_fused_network_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    trainer = built(replace(FUSED, compile=True), said, monkeypatch, torch.ones(3))
    assert (trainer.engine.fused, trainer.engine.compile, trainer.compiled) == (True, False, None)
    assert not said
    assert "not compiled, Triton convolutions, fused" in str(trainer.engine)
    assert trainer.engine.describe()["fused"]
    assert trainer.model.training


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (-torch.ones(3), "RuntimeError: a gradient: 2 of its length from torch's"),
        (torch.full((3,), torch.nan), "RuntimeError: a gradient: nan of its length from torch's"),
        (ValueError("no such shape"), "ValueError: no such shape"),
    ],
)
def test_where_kernels_fail_or_give_another_gradient_layers_are_torchs(
    found: torch.Tensor | Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    trainer = built(FUSED, said, monkeypatch, found)
    assert said == [f"warning: fused layers in Triton do not work here ({why}): they are torch's"]
    assert trainer.fused is None
    assert (trainer.engine.triton, trainer.engine.fused) == (True, False)


def test_where_memory_runs_out_nothing_is_said_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        built(FUSED, [], monkeypatch, RuntimeError("CUDA out of memory"))


@pytest.mark.parametrize(
    ("began", "goes_on", "expected"), [("cuda", "cuda", True), ("cuda", "cpu", False), ("cpu", "cuda", False), ("cpu", "cpu", True)]
)
def test_a_resumed_run_keeps_what_it_began_with_where_that_exists(began: str, goes_on: str, expected: bool) -> None:
    first, second = (replace(FUSED, device=torch.device(name), triton=name == "cuda") for name in (began, goes_on))
    assert second.as_begun(first.describe()).fused is expected


@pytest.mark.parametrize(("name", "lost"), LOST.items())
def test_a_run_that_began_with_what_it_cannot_have_any_more_does_not_go_on(
    name: str, lost: str, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [*TINY, EVERY_EPOCH, "engine.device=cpu"]
    with monkeypatch.context() as patch:
        interrupt_after(6, patch)
        assert cli(*run).status == 130
    build = run_module.build_trainer

    def with_another_engine(*arguments: Any) -> Trainer:
        trainer = build(*arguments)
        changed: dict[str, Any] = {name: not getattr(trainer.engine, name)}
        trainer.engine = replace(trainer.engine, **changed)
        return trainer

    monkeypatch.setattr(run_module, "build_trainer", with_another_engine)
    ended = cli(*run)
    assert ended.status != 0
    assert f"the run began with {lost} here: its epochs would not be of one kind" in " ".join((ended.out + ended.err).split())
