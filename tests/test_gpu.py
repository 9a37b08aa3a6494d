"""The same promises on a real GPU that other tests make with stand-ins for one. `make test-gpu` runs these; minutes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fused_layer
import fused_window
import pytest
import small_images
import torch
from conftest import EVERY_EPOCH, TINY, CommandLine, finish, start
from recorded import BATCH, CPU, EPOCHS, Trained, built_in_images, ended, every_kind, make, plain_engine, refuses, tiny
from small_network import batch, gradients, network
from test_lanes import DRAWS_FROM_EVERYWHERE, numbers
from torch import nn
from trained import interrupt_after, metrics, result, train

from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads, resnet, vgg_bn
from mtlsweep.train.build import build_trainer
from mtlsweep.train.convolutions import take_over
from mtlsweep.train.engine import Engine
from mtlsweep.train.fused_heads import FusedHeads
from mtlsweep.train.fused_stack import FusedStack
from mtlsweep.train.fused_trunk import FusedTrunk
from mtlsweep.train.network import Batch, Losses, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment, StepMetrics
from mtlsweep.train.training import Pass
from mtlsweep.train.two_gradients import flat

GPU = torch.device("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU, or hidden: make test-gpu")]

ON_GPU = "engine.device=cuda"
# An epoch of ten full mini-batches and a partial one, so that steps are recorded in the first.
STEPS = [ON_GPU, "schedule.batch_size=10", "data.train_size=105", "schedule.epochs=3"]
RECIPE: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": BATCH}


@pytest.fixture(scope="module")
def images() -> Resident:
    made = built_in_images(GPU)
    torch.cuda.synchronize()  # the tests have streams of their own
    return made


@pytest.fixture(autouse=True)
def stream() -> Iterator[None]:
    """Work on the default stream cannot be recorded; what a run's engine prepares, above all that cuDNN is deterministic."""
    plain_engine(GPU).apply()
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


def test_images_order_crops_and_flips_are_those_of_a_cpu(images: Resident) -> None:
    found = []
    for place in (built_in_images(CPU), images):
        trainer = build_trainer(tiny(), make("equal"), place, replace(plain_engine(place.white.device), graph=False), RECIPE, seed=7)
        kept = Pass(trainer, Moment(1, EPOCHS, 1.0)).kept
        found += [
            [kept.order.cpu(), *(tensor.cpu() for tensor in make_batch(kept.order, kept.codes, trainer.engine))]
            for make_batch in (place.batch, place.batch_by_torch)
        ]
    assert images.table is not None
    for tensors in zip(*found, strict=True):
        assert all(tensor.equal(tensors[0]) for tensor in tensors)


def two_steps(strategy: Strategy, device: torch.device, seed: int = 0) -> tuple[list[torch.Tensor], StepMetrics]:
    """The gradients of the second of two steps in the middle of a run, and what both told."""
    model, strategy = network().to(device), strategy.to(device)
    strategy.generator = torch.Generator(device).manual_seed(seed)
    strategy.begin_epoch(1, 10, device)
    given = Batch(*(tensor.to(device) for tensor in batch()))
    program = step_program(Network(model), strategy)
    for step in range(2):
        model.zero_grad()
        outcome = program(given, Moment(1, 10, torch.tensor(0.5, device=device), step))
    return [gradient.cpu() for gradient in gradients(model)], StepMetrics(*(value.cpu() for value in outcome))


@every_kind
@pytest.mark.usefixtures("double_precision")
def test_a_step_is_that_of_a_cpu(name: str, options: dict[str, Any]) -> None:
    """In double precision, where rounding is far below any error; but for strategies that draw, whose numbers are other ones."""
    expected, told = two_steps(make(name, **options), CPU)
    draws = any(not one.equal(other) for one, other in zip(expected, two_steps(make(name, **options), CPU, seed=1)[0], strict=True))
    found, said = two_steps(make(name, **options), GPU)
    if draws:
        again, _ = two_steps(make(name, **options), GPU)
        assert all(one.equal(other) and one.isfinite().all() for one, other in zip(found, again, strict=True))
        return
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(torch.stack(said), torch.stack(told), rtol=1e-7, atol=1e-10, equal_nan=True)


@every_kind
def test_replays_are_what_python_executes(name: str, options: dict[str, Any], images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Trained.of(make(name, **options), images, refuses, monkeypatch)
    replayed = Trained.of(make(name, **options), images, None, monkeypatch)
    assert (plain.trainer.engine.graph, replayed.trainer.engine.graph) == (False, True)
    assert replayed.numbers == plain.numbers


NETWORKS = {"resnet20": partial(resnet, 20), "resnet56": partial(resnet, 56), "vgg16bn": partial(vgg_bn, 16)}


# Compiled only the one that takes least time for it.
@pytest.mark.parametrize(
    ("model", "compiled", "triton", "fused"),
    [
        *((model, False, False, False) for model in NETWORKS),
        *(("resnet20", True, triton, False) for triton in (False, True)),
        *((model, False, True, True) for model in NETWORKS),
        ("vgg16bn", False, False, True),  # its heads
    ],
)
@pytest.mark.parametrize("name", ["equal", "pcgrad"])
def test_real_networks_are_replayed_bit_for_bit(
    model: str, name: str, compiled: bool, triton: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what `engine=auto` is on a GPU, in mini-batches of the recipe's size."""
    engine = Engine(GPU, "bf16", channels_last=True, threads=1, compile=compiled, graph=True, triton=triton, fused=fused)
    images = built_in_images(GPU, 1000)
    plain, replayed = (
        Trained.of(make(name), images, record, monkeypatch, engine, NETWORKS[model], batch_size=128) for record in (refuses, None)
    )
    chosen = replayed.trainer.engine
    assert (chosen.graph, chosen.compile, chosen.triton, chosen.fused) == (True, compiled, triton, fused)
    assert replayed.numbers == plain.numbers
    losses = [value for epoch in plain.numbers for value in epoch[0][:3]]
    assert min(losses) > 0  # what is no number reads as -1


# Of ResNet-20 and -56: input and output channels, size, stride.
LAYERS = [(3, 16, 32, 1), (16, 16, 32, 1), (16, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2), (64, 64, 8, 1)]


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
@pytest.mark.parametrize(("inputs", "outputs", "size", "stride"), LAYERS)
def test_convolutions_of_few_channels_are_those_of_torch(inputs: int, outputs: int, size: int, stride: int, images_a_step: int) -> None:
    random = torch.Generator(GPU).manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=GPU, generator=random).bfloat16().to(memory_format=torch.channels_last)

    given, weights = drawn(images_a_step, inputs, size, size), drawn(outputs, inputs, 3, 3)
    arrives = drawn(images_a_step, outputs, size // stride, size // stride)
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False).to(GPU).to(memory_format=torch.channels_last)
    assert take_over(nn.Sequential(layer)) == 1
    layer.weight.data.copy_(weights)
    exact = [tensor.double().requires_grad_() for tensor in (given, weights)]
    expected = nn.functional.conv2d(exact[0], exact[1], None, stride, 1)
    of_images, of_weights = torch.autograd.grad(expected, exact, arrives.double())
    wanted = [expected.detach(), of_weights, of_images][: 2 + (inputs > 3)]

    def found() -> list[torch.Tensor]:
        result = layer(given.requires_grad_(inputs > 3))  # nothing differentiates by the data set's pixels
        return [result.detach(), *torch.autograd.grad(result, [layer.weight, *[given] * (inputs > 3)], arrives)]

    first, second = found(), found()
    for one, other, right, tolerance in zip(first, second, wanted, (4e-3, 1e-5, 4e-3), strict=False):
        assert one.equal(other)
        assert one.dtype == (torch.float32 if tolerance == 1e-5 else torch.bfloat16)
        assert (one.double() - right).norm() < tolerance * right.norm()


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
@pytest.mark.parametrize(("inputs", "outputs", "size", "stride"), LAYERS)
def test_fused_layers_are_those_of_double_precision(inputs: int, outputs: int, size: int, stride: int, images_a_step: int) -> None:
    """One layer, and its gradients as they arrive from the layer behind it."""
    layer = fused_layer.drawn(inputs, outputs, size, stride, images_a_step, GPU)
    first, second = fused_layer.executed(layer), fused_layer.executed(layer)
    for name, (value, tolerance) in fused_layer.expected(layer, first).items():
        assert first[name].equal(second[name]), name
        assert (first[name].double() - value).norm() <= tolerance * value.norm(), name


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
@pytest.mark.parametrize(("precision", "window"), [(torch.bfloat16, 1), (torch.float32, 1), (torch.float32, 2)])
@pytest.mark.parametrize(("channels", "size"), [(64, 32), (128, 16), (512, 2)])
def test_what_lies_between_convolutions_is_that_of_double_precision(
    channels: int, size: int, precision: torch.dtype, window: int, images_a_step: int
) -> None:
    first, second = (fused_window.executed(channels, size, window, images_a_step, precision, GPU) for _ in range(2))
    for name, (value, tolerance) in fused_window.expected(first, window).items():
        assert first[name].equal(second[name]), name
        assert (first[name].double() - value).norm() <= tolerance * value.norm(), name


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
@pytest.mark.parametrize(("inputs", "outputs", "size"), [(256, 512, 4), (512, 512, 4), (512, 512, 2)])
def test_convolutions_of_small_images_are_those_of_double_precision(inputs: int, outputs: int, size: int, images_a_step: int) -> None:
    drawn = small_images.drawn(inputs, outputs, size, images_a_step, torch.bfloat16, GPU)
    first, second = small_images.executed(*drawn), small_images.executed(*drawn)
    for (name, right), tolerance in zip(small_images.expected(*drawn).items(), (4e-3, 4e-3, 1e-5), strict=True):
        assert first[name].equal(second[name]), name
        assert (first[name].double() - right).norm() < tolerance * right.norm(), name


@pytest.mark.parametrize("images_a_step", [128, 80])
def test_a_stack_has_the_gradients_of_torch_one_or_two_at_once(images_a_step: int) -> None:
    """As far as bf16 goes: which algorithm cuDNN takes depends on the number of images."""
    random = torch.Generator(GPU).manual_seed(0)
    model = vgg_bn(11).to(GPU).to(memory_format=torch.channels_last)
    parameters, trunk = list(model.trunk.parameters()), FusedStack(model.trunk, torch.bfloat16)
    images = torch.randn(images_a_step, 3, 32, 32, device=GPU, generator=random).contiguous(memory_format=torch.channels_last)
    arrives = torch.randn(2, images_a_step, 512, device=GPU, generator=random).bfloat16()
    with torch.autocast("cuda", torch.bfloat16):
        features = model.trunk(images)
    wanted = [flat(torch.autograd.grad(features, parameters, one, retain_graph=True), parameters) for one in arrives]
    again = trunk(images)
    assert (again - features).norm() < 0.05 * features.norm()
    found = [flat(torch.autograd.grad(again, parameters, one, retain_graph=True), parameters) for one in arrives]
    once_more = [flat(torch.autograd.grad(again, parameters, one, retain_graph=True), parameters) for one in arrives]
    for one, other, right, at_once in zip(found, once_more, wanted, trunk.pass_through(images)[1](arrives), strict=True):
        assert one.equal(other)
        assert (one - right).norm() < 0.5 * right.norm()
        assert (at_once - one).norm() < 0.05 * one.norm()


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
def test_two_gradients_at_once_are_those_of_two_passes(images_a_step: int) -> None:
    random = torch.Generator(GPU).manual_seed(0)
    model = resnet(20).to(GPU).to(memory_format=torch.channels_last)
    trunk = FusedTrunk(model.trunk, torch.bfloat16)
    images = torch.randn(images_a_step, 3, 32, 32, device=GPU, generator=random).contiguous(memory_format=torch.channels_last)
    arrives = torch.randn(2, images_a_step, 64, device=GPU, generator=random).bfloat16()
    features, pull_back = trunk.pass_through(images)
    apart = torch.cat([pull_back(one[None]) for one in arrives])
    assert pull_back(arrives).equal(apart)
    assert apart.isfinite().all()
    again = trunk(images)
    assert again.equal(features)
    for one, vector in zip(arrives, apart, strict=True):
        gradients = torch.autograd.grad(again, list(model.trunk.parameters()), one, retain_graph=True)
        assert flat(gradients, list(model.trunk.parameters())).equal(vector)


@pytest.mark.parametrize("images_a_step", [128, 80, 1])
@pytest.mark.parametrize("width", [64, 512])
def test_both_losses_as_one_operation_are_those_of_double_precision(width: int, images_a_step: int) -> None:
    random = torch.Generator(GPU).manual_seed(0)
    heads = TwoHeads(nn.Identity(), width).to(GPU)
    features = torch.randn(images_a_step, width, device=GPU, generator=random).bfloat16()
    labels = [torch.randint(classes, (images_a_step,), device=GPU, generator=random) for classes in (100, 20)]
    given, fused = Batch(features, *labels), FusedHeads(heads)

    def gradients_of(losses: Losses, of: torch.Tensor) -> list[torch.Tensor]:
        parameters = [*heads.fine_head.parameters(), *heads.coarse_head.parameters()]
        both = torch.autograd.grad(0.7 * losses.fine + 1.3 * losses.coarse, [of, *parameters])
        return [losses.fine.detach(), losses.coarse.detach(), *both]

    of = features.clone().requires_grad_()
    first, second = gradients_of(fused(of, given), of), gradients_of(fused(of, given), of)
    heads.double()
    of = features.double().requires_grad_()
    wanted = gradients_of(Network(heads).losses(of, given), of)
    for one, other, right in zip(first, second, wanted, strict=True):
        assert one.equal(other)
        assert (one.double() - right).norm() < 1e-2 * right.norm()  # logits and their gradients are bf16


@pytest.mark.parametrize("name", ["equal", "fine_only", "pcgrad"])
@pytest.mark.parametrize(
    "model", [["model.depth=8", "model.width=16"], ["model=vgg16bn", "model.depth=11", "engine.compile=false"]], ids=["resnet", "vgg"]
)
def test_fused_runs_give_the_same_bits_alone_and_in_lanes(model: list[str], name: str, cli: CommandLine) -> None:
    options = ["seed=1,2", "engine.precision=bf16", "engine.fused=true"]
    run = [*model, *TINY[2:], *STEPS, f"loss={name}", *options]
    for study, lanes in (("alone", "1"), ("together", "2")):
        ended = cli("-m", *run, f"study={study}", f"hydra.launcher.lanes={lanes}")
        assert ended.status == 0, ended
        engines = [json.loads(path.read_text())["engine"] for path in Path("runs", study).rglob("result.json")]
        assert [engine.get(kind) for engine in engines for kind in ("fused", "triton")] == [True] * 4
    assert numbers("together") == numbers("alone")


FUSED = Engine(GPU, "bf16", channels_last=True, threads=1, compile=False, graph=True, triton=True, fused=True)


@pytest.mark.parametrize("engine", [None, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("name", ["equal", "pcgrad", "fairgrad", "graddrop", "famo"])
@pytest.mark.parametrize("record", [refuses, None], ids=["executed", "replayed"])
def test_nothing_waits_for_the_device_within_an_epoch(
    name: str, record: Any, engine: Engine | None, images: Resident, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = partial(resnet, 8) if engine else tiny
    trainer = Trained.of(make(name), images, record, monkeypatch, engine, model).trainer
    assert trainer.engine.fused is bool(engine)
    epoch = Pass(trainer, Moment(EPOCHS - 1, EPOCHS, 0.0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(trainer.steps_per_epoch()):
            epoch.step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.kept.totals.isfinite().any()


def test_what_cannot_be_recorded_goes_on_without_and_the_next_run_is_recorded(images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reads(type(make("rlw"))):  # type: ignore[misc]
        """Reads a value on the host, after it has drawn random numbers as its parent does."""

        def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
            combined = super().forward(fine_loss, coarse_loss, epoch, total_epochs)
            return combined + min(1.0, coarse_loss.item()) * coarse_loss

    Reads.__module__ = "mtlsweep.losses.rlw"
    plain, tried = (Trained.of(Reads(), images, record, monkeypatch) for record in (refuses, None))
    assert not tried.trainer.engine.graph
    assert tried.numbers == plain.numbers
    following = Trained.of(make("rlw"), images, None, monkeypatch)
    assert following.trainer.engine.graph
    assert following.numbers == Trained.of(make("rlw"), images, refuses, monkeypatch).numbers


SWEEP = ["-m", *TINY, *STEPS, EVERY_EPOCH, "loss=rlw,pcgrad,graddrop,haw", "seed=1,2"]


def test_runs_give_the_same_bits_alone_and_in_lanes(cli: CommandLine) -> None:
    Path("my_loss.py").write_text(DRAWS_FROM_EVERYWHERE.replace("float(torch.rand(()))", "torch.rand((), device=fine_loss.device)"))
    for study, lanes in (("alone", "1"), ("together", "4"), ("all", "auto")):
        launcher = [f"study={study}", f"hydra.launcher.lanes={lanes}"]
        assert cli(*SWEEP, *launcher).status == 0
        assert cli("-m", *TINY, *STEPS, "loss=user/file", "loss.path=my_loss.py", "seed=1,2,3", *launcher).status == 0
    alone = numbers("alone")
    assert len(alone) == 11
    assert numbers("together") == alone
    assert numbers("all") == alone


def test_a_run_that_takes_too_much_memory_fails_alone(cli: CommandLine) -> None:
    greedy = "torch.empty(1 << 45, device=fine_loss.device)"
    Path("bad.py").write_text(DRAWS_FROM_EVERYWHERE.replace("float(torch.rand(()))", f"({greedy}.sum() if epoch else 0)"))
    Path("good.py").write_text(DRAWS_FROM_EVERYWHERE)
    ended = cli("-m", *TINY, *STEPS, "loss=user/file", "loss.path=bad.py,good.py", "seed=1,2", "hydra.launcher.lanes=4")
    assert ended.status == 1
    assert "2 failed, 2 completed" in ended.out
    assert "out of memory" in ended.out


def test_an_interrupted_sweep_goes_on_with_the_same_numbers(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(*SWEEP, "study=undisturbed").status == 0
    with monkeypatch.context() as patch:
        interrupt_after(50, patch)
        assert cli(*SWEEP, "study=s", "hydra.launcher.lanes=3").status == 130
    assert cli(*SWEEP, "study=s", "hydra.launcher.lanes=2").status == 0
    assert numbers("s") == numbers("undisturbed")


@pytest.mark.parametrize(("before", "after"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_can_be_continued_on_another_kind_of_device(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    run = [*STEPS[1:], "study=s", "loss=moco", "engine.precision=fp32", EVERY_EPOCH]
    with monkeypatch.context() as patch:
        interrupt_after(15, patch)
        assert cli(*TINY, *run, f"engine.device={before}").status == 130
    continued = train(cli, *run, f"engine.device={after}")
    assert result(continued)["engine"]["device"] == after
    assert [row["epoch"] for row in metrics(continued)] == ["1", "2", "3"]
    undisturbed = train(cli, *run, "study=whole", "engine.device=cpu", study="whole")
    losses = [[float(row["fine_loss"]) for row in metrics(found)] for found in (continued, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.processes
def test_processes_that_share_a_gpu_give_the_numbers_of_one(cli: CommandLine, tmp_path: Path) -> None:
    assert cli(*SWEEP, "study=alone").status == 0
    together = finish(start([*SWEEP, "study=together", "hydra.launcher.n_jobs=2"], tmp_path))
    assert together.status == 0, together
    assert numbers("together") == numbers("alone")


def test_a_recorded_evaluation_changes_nothing_that_training_goes_on_from(images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trained.of(make("equal"), images, None, monkeypatch).trainer
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    first, second = (ended(trainer.evaluate(trainer.data.test)) for _ in range(2))
    assert first == second
    assert all(value.equal(before[name]) for name, value in trainer.model.state_dict().items())
