"""What makes a run faster leaves its numbers as they are, or says so."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from conftest import EVERY_EPOCH, TINY, CommandLine
from small_network import assert_same
from tape import TapeRecorder
from torch._dynamo.exc import RecompileError
from trained import interrupt_after, metrics, result, train

from mtlsweep.models import resnet
from mtlsweep.train import build as build_module
from mtlsweep.train import processor
from mtlsweep.train import run as run_module
from mtlsweep.train.compilation import compile_network
from mtlsweep.train.engine import COMPILE_FROM_STEPS, Engine, notes, resolve, resolve_run
from mtlsweep.train.graphs import RecordingFailed
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.two_gradients import receive, through

AUTO = {
    "device": "cpu",
    "precision": "auto",
    "channels_last": None,
    "compile": None,
    "graph": None,
    "triton": None,
    "fused": None,
    "threads": None,
}
# Ten full mini-batches and a partial one in an epoch.
STEPS = ["schedule.batch_size=10", "data.train_size=105", "schedule.epochs=3"]


def test_auto_compiles_runs_that_are_long_enough_to_repay_it() -> None:
    assert not resolve(AUTO, steps=COMPILE_FROM_STEPS - 1).compile
    assert resolve(AUTO, steps=COMPILE_FROM_STEPS).compile
    assert not resolve(AUTO | {"compile": False}, steps=COMPILE_FROM_STEPS).compile
    assert resolve(AUTO | {"compile": True}).compile


@pytest.mark.parametrize(
    ("precision", "model", "compiled"), [("bf16", "vgg_bn", False), ("fp32", "vgg_bn", True), ("bf16", "resnet", True)]
)
def test_auto_does_not_compile_what_is_slower_by_it(precision: str, model: str, compiled: bool) -> None:
    settings, name = AUTO | {"precision": precision}, f"mtlsweep.models.{model}"
    assert callable(hydra.utils.get_object(name))
    assert resolve(settings, COMPILE_FROM_STEPS, name).compile is compiled
    assert resolve(settings | {"compile": True}, COMPILE_FROM_STEPS, name).compile


@pytest.mark.parametrize(
    ("flags", "vendor", "expected"),
    [
        ("avx512f amx_bf16 avx512_bf16", "GenuineIntel", "bf16"),
        ("avx512f avx512_bf16", "AuthenticAMD", "bf16"),
        ("avx512f avx512_bf16", "GenuineIntel", "fp32"),
        ("avx2", "AuthenticAMD", "fp32"),
    ],
)
def test_auto_is_bf16_on_processors_that_are_faster_in_it(monkeypatch: pytest.MonkeyPatch, flags: str, vendor: str, expected: str) -> None:
    monkeypatch.setattr(processor, "facts", lambda: {"flags": flags, "vendor_id": vendor})
    assert resolve(AUTO).precision == expected
    assert resolve(AUTO | {"precision": "fp32"}).precision == "fp32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_is_bf16_on_gpus_with_matrix_units_for_it(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve(AUTO | {"device": "cuda"}).precision == expected


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")


def small_batch() -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(10, 3, 32, 32), torch.randint(0, 100, (10,)), torch.randint(0, 20, (10,)))


@needs_compiler
@pytest.mark.usefixtures("double_precision")
def test_two_backward_passes_on_the_same_activations_of_a_compiled_trunk_are_those_of_the_plain_one() -> None:
    """What a user's strategy may do by itself, from the losses that it is given."""
    model, images = resnet(8, 4), small_batch().images
    arriving = torch.randn(2, 10, 16)
    parameters = list(model.trunk.parameters())
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    compiled = compile_network(Network(model), small_batch(), 20, frozenset({1}))
    assert all(buffer.equal(kept[name]) for name, buffer in model.named_buffers())
    found = []
    for network in (Network(model), Network(model, compiled=compiled)):
        features = network.features(images)
        found.append([torch.autograd.grad(features, parameters, gradient, retain_graph=True) for gradient in arriving])
    for plain, other in zip(*found, strict=True):
        for one, same in zip(plain, other, strict=True):
            assert float((one - same).norm()) < 1e-11 * float(one.norm())


@needs_compiler
@pytest.mark.usefixtures("double_precision")
def test_both_gradients_that_are_compiled_as_one_pass_are_those_of_two() -> None:
    """Of the trunk and of the heads, with what they leave behind in BatchNorm."""
    batch, factor = small_batch(), torch.tensor(0.3)
    plain, model = resnet(8, 4), resnet(8, 4).to(memory_format=torch.channels_last)
    model.load_state_dict(plain.state_dict())
    compiled = compile_network(Network(model), batch, 20, frozenset({2}))
    assert_same(list(model.buffers()), list(plain.buffers()))
    network = Network(model, compiled=compiled)
    assert network.compiled_differentiate(batch)
    expected, found = through(Network(plain), batch, factor), through(network, batch, factor)
    assert_same(list(model.buffers()), list(plain.buffers()))
    assert_same(
        [*found.heads.losses, *found.heads.fine, *found.heads.coarse],
        [*expected.heads.losses, *expected.heads.fine, *expected.heads.coarse],
    )
    for ours, theirs in ((found.fine, expected.fine), (found.coarse, expected.coarse)):
        receive(list(model.trunk.parameters()), ours)
        receive(list(plain.trunk.parameters()), theirs)
        for one, other in zip(model.trunk.parameters(), plain.trunk.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert one.grad.stride() == one.stride()
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


@needs_compiler
@pytest.mark.usefixtures("double_precision")
def test_runs_of_one_architecture_share_what_is_compiled() -> None:
    batch, exact = small_batch(), frozenset({2})
    compile_network(Network(resnet(8, 4)), batch, 20, exact)
    with torch._dynamo.config.patch(error_on_recompile=True):
        compile_network(Network(resnet(8, 4)), batch, 20, exact)
        with pytest.raises(RecompileError):
            compile_network(Network(resnet(14, 4)), batch, 20, exact)


@needs_compiler
def test_compiled_run_says_so_and_trains_alike(cli: CommandLine) -> None:
    arguments = ["loss=pcgrad", "data.test_size=250", *STEPS]
    plain = train(cli, *arguments, "engine.compile=false", study="plain")
    compiled = train(cli, *arguments, "engine.compile=true", study="compiled")
    assert (result(plain)["engine"]["compile"], result(compiled)["engine"]["compile"]) == (False, True)
    first, again = metrics(plain)[0], metrics(compiled)[0]
    assert float(again["fine_loss"]) == pytest.approx(float(first["fine_loss"]), rel=1e-3)


def test_without_a_compiler_a_run_goes_on_as_it_is_and_says_so(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*arguments: object, **options: object) -> None:
        raise RuntimeError("no C++ compiler here\nand more")

    plain = train(cli, study="plain")
    monkeypatch.setattr(torch, "compile", no_compiler)
    ended = cli(*TINY, "study=s", "engine.compile=true")
    assert ended.status == 0, ended
    assert "warning: the network cannot be compiled (RuntimeError: no C++ compiler here): it runs as it is" in ended.out.splitlines()
    (run,) = (path.parent for path in Path("runs", "s").glob("**/run.json"))
    assert result(run)["engine"]["compile"] is False
    assert metrics(run) == metrics(plain)


def record_with(record: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def graphs_everywhere(settings: dict[str, Any]) -> Engine:
        return replace(resolve_run(settings), graph=True)

    monkeypatch.setattr(run_module, "resolve_run", graphs_everywhere)
    monkeypatch.setattr(build_module, "CudaRecorder", lambda: record)


@pytest.mark.parametrize(
    "arguments", [["loss=rlw"], ["loss=haw", "curriculum=linear"], ["loss=pcgrad", "loss.refresh=4", "data.validation=20"]]
)
def test_a_recorded_run_has_the_numbers_of_one_that_is_not(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """And one that was interrupted goes on with them."""
    record_with(refuses, monkeypatch)
    plain = train(cli, *arguments, *STEPS, study="plain")
    tape = TapeRecorder()
    record_with(tape, monkeypatch)
    recorded = train(cli, *arguments, *STEPS, study="recorded")
    assert metrics(recorded) == metrics(plain)
    assert (result(plain)["engine"]["graph"], result(recorded)["engine"]["graph"]) == (False, True)
    with monkeypatch.context() as patch:
        interrupt_after(15, patch)
        assert cli(*TINY, "study=interrupted", EVERY_EPOCH, *arguments, *STEPS).status == 130
    continued = train(cli, "study=interrupted", EVERY_EPOCH, *arguments, *STEPS, study="interrupted")
    assert metrics(continued) == metrics(plain)


def refuses(body: object, generator: object) -> None:
    raise RecordingFailed("operation not permitted\nmore")


def test_what_cannot_be_recorded_is_executed_by_python_and_said(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(cli, *STEPS, study="plain")
    record_with(refuses, monkeypatch)
    ended = cli(*TINY, "study=s", *STEPS)
    assert ended.status == 0, ended
    assert ended.out.count("warning: the steps of this run cannot be recorded as a CUDA graph") == 1
    (run,) = (path.parent for path in Path("runs", "s").glob("**/run.json"))
    assert result(run)["engine"]["graph"] is False
    assert float(metrics(run)[0]["fine_loss"]) == pytest.approx(
        float(metrics(plain)[0]["fine_loss"]), rel=1e-3
    )  # fused SGD rounds otherwise


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"flags": "avx2", "vendor_id": "AuthenticAMD"}, ["has no instructions for it, and fp32 is several times as fast"]),
        ({"flags": "avx512_bf16", "vendor_id": "GenuineIntel"}, ["is not known to gain by it"]),
        ({}, ["is not known to gain by it"]),
        ({"flags": "avx512_bf16", "vendor_id": "AuthenticAMD"}, []),
    ],
)
def test_bf16_where_it_is_no_gain_is_said(known: dict[str, str], said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "facts", lambda: known)
    asked, cpu = AUTO | {"precision": "bf16"}, resolve(AUTO)
    assert notes(asked, cpu) == [f"note: engine.precision=bf16: this processor {words}" for words in said]
    assert notes(AUTO, cpu) == notes(asked, replace(cpu, device=torch.device("cuda"))) == []


def test_triton_that_was_asked_for_and_cannot_be_had_is_said() -> None:
    asked, without = AUTO | {"triton": True}, replace(resolve(AUTO), device=torch.device("cuda"), fused=False)
    (line,) = notes(asked, without)
    assert line.startswith("note: engine.triton=true: takes a GPU, bf16")
    assert notes(asked, replace(without, triton=True)) == notes(AUTO, without) == []
    fused = AUTO | {"fused": True}
    (line,) = notes(fused, replace(without, triton=True, fused=False))
    assert line.startswith("note: engine.fused=true: takes channels last, and on a GPU bf16 and a multiple of 64 features")
    assert notes(fused, replace(without, triton=True, fused=True)) == []


def test_without_a_gpu_there_are_no_cuda_graphs_and_that_is_said(cli: CommandLine) -> None:
    ended = cli(*TINY, "engine.device=cpu", "engine.graph=true")
    assert ended.status == 0, ended
    assert "note: engine.graph=true: there are no CUDA graphs on a CPU" in ended.out


PLAIN = """
from torch import nn
class MultiTaskLoss(nn.Module):
    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):
        return fine_loss + coarse_loss
"""
INHERITED = """
import torch
from mtlsweep.losses import GramStrategy
class MultiTaskLoss(GramStrategy):
    steps = 0
    def weights(self, gram, losses, epoch, total_epochs):
        self.steps += 1
        return torch.full((2,), 1 / self.steps)
"""


@pytest.mark.parametrize("content", [PLAIN, INHERITED])
def test_a_users_strategy_is_never_recorded(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    Path("my_loss.py").write_text(content)
    tape = TapeRecorder()
    record_with(tape, monkeypatch)
    ended = cli(*TINY, "study=s", "loss=user/file", "loss.path=my_loss.py", *STEPS)
    assert ended.status == 0, ended
    assert "they are not recorded as CUDA graphs" in ended.out
    assert tape.recorded == 0
    (run,) = (path.parent for path in Path("runs", "s").glob("**/run.json"))
    assert result(run)["engine"]["graph"] is False


def test_a_model_with_layers_from_elsewhere_is_not_recorded(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python decides in a step would be decided once."""
    Path("mine.py").write_text(
        "import torch\nfrom mtlsweep.models import resnet\n"
        "class Now(torch.nn.Identity):\n    pass\n"
        "def build():\n    model = resnet(8, width=4)\n    model.trunk.append(Now())\n    return model\n"
    )
    monkeypatch.syspath_prepend(".")
    tape = TapeRecorder()
    record_with(tape, monkeypatch)
    others = [text for text in TINY if not text.startswith("model.")]
    ended = cli(*others, "~model.depth", "~model.width", "model._target_=mine.build", *STEPS)
    assert ended.status == 0, ended
    assert "note: the steps of a model with a Now may depend on more than the device's memory" in ended.out
    assert tape.recorded == 0
