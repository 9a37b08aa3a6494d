"""What lies between two convolutions on a processor, by kernels in C++, is what torch makes of it."""

import ctypes
import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import accumulate, pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import torch
from conftest import EVERY_EPOCH, TINY, CommandLine
from recorded import CPU, built_in_images, make
from test_engine import AUTO
from test_few_channels import RECIPE
from torch import nn
from torch.nn.functional import batch_norm, cross_entropy, max_pool2d
from trained import interrupt_after, metrics, result

from mtlsweep.models import resnet, vgg_bn
from mtlsweep.train import build as build_module
from mtlsweep.train import host_trunk, processor
from mtlsweep.train.batch_norm import count_by_epoch
from mtlsweep.train.build import build_trainer
from mtlsweep.train.compilation import untouched
from mtlsweep.train.engine import Engine, resolve
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.fused import fuse_on_host
from mtlsweep.train.host import few_places, library, norm_relu, weight_gradient
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.trunk import channels_last, differentiate
from mtlsweep.train.two_gradients import TrunkGradients, through

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="kernels in C++ need Linux and a C++ compiler"
)

# Relative to the length of what is right: fp32's sums, and a rounding to bf16 or two.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 4e-3}


class Given(NamedTuple):
    """A convolution's result, what is added before ReLU, K gradients of what comes out and K that come past a layer behind."""

    raw: torch.Tensor
    beside: torch.Tensor
    arrives: torch.Tensor
    past: torch.Tensor


def drawn(channels: int, size: int, count: int, precision: torch.dtype, batch: int = 3) -> Given:
    torch.manual_seed(channels + size)
    shapes = [(batch, channels, size, size)] * 2 + [(count * batch, channels, size, size)] * 2
    raw, *others = (torch.randn(shape) for shape in shapes)
    far = 20 * torch.randn(channels)[:, None, None]  # means that are far from zero
    return Given(*(one.to(precision).contiguous(memory_format=torch.channels_last) for one in (raw + far, *others)))


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    for values in (norm.weight, norm.bias, norm.running_mean):
        assert values is not None
        nn.init.normal_(values)
    return norm


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "size"), [(16, 32), (16, 4), (32, 16), (64, 8), (128, 4), (512, 2)])
def test_a_layer_and_two_of_its_gradients_are_those_in_double_precision(channels: int, size: int, precision: torch.dtype) -> None:
    given, norm = drawn(channels, size, 2, precision), norm_of(channels)
    exact = [torch.nn.Parameter(value.detach().double()) for value in (given.raw, norm.weight, norm.bias)]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    before_relu = batch_norm(exact[0], mean, variance, exact[1], exact[2], True, norm.momentum or 0.0, norm.eps) + given.beside.double()
    made = norm_relu.forward(given.raw, norm, given.beside, moves=True)
    assert apart(made.output, before_relu.relu()) < TOLERANCE[precision]
    for found, expected in zip((norm.running_mean, norm.running_var), (mean, variance), strict=True):
        assert apart(found, expected) < 1e-6

    slopes, arrives = torch.empty(2, 2 * channels + 5), given.arrives.clone()
    where = (slopes[:, :channels], slopes[:, channels : 2 * channels])
    of_raw = norm_relu.backward(arrives, given.past, made, norm, where, keeps=True)
    passed = made.output > 0
    for k, part in enumerate(torch.arange(6).split(3)):
        entered = passed * (given.arrives[part].double() + given.past[part].double())
        of_layer = torch.autograd.grad(before_relu, exact, entered, retain_graph=True)
        assert apart(arrives[part], entered) < TOLERANCE[precision]
        for found, expected in zip((of_raw[part], where[0][k], where[1][k]), of_layer, strict=True):
            # Of what has been rounded the sums are those of what had not.
            assert apart(found, expected) < TOLERANCE[precision]


def test_without_a_shortcut_the_gradient_may_take_the_place_of_what_arrives() -> None:
    given, norm = drawn(16, 8, 1, torch.float32), norm_of(16)
    made = norm_relu.forward(given.raw, norm, None, moves=False)
    assert made.output.equal(norm_relu.forward(given.raw, norm, torch.zeros_like(given.raw), moves=False).output)
    slopes = (torch.empty(1, 16), torch.empty(1, 16))
    apart_from_it = norm_relu.backward(given.arrives.clone(), None, made, norm, slopes, keeps=True)
    arrives = given.arrives.clone()
    in_place = norm_relu.backward(arrives, None, made, norm, slopes, keeps=False)
    assert in_place.data_ptr() == arrives.data_ptr()
    assert in_place.equal(apart_from_it)


def test_running_statistics_move_only_where_they_are_to() -> None:
    given, norm = drawn(16, 8, 1, torch.float32), norm_of(16)
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    norm_relu.forward(given.raw, norm, None, moves=False)
    assert norm.running_mean.equal(before)
    norm_relu.forward(given.raw, norm, None, moves=True)
    assert not norm.running_mean.equal(before)


def test_rounding_is_torchs_and_what_is_not_a_number_stays_none() -> None:
    images, norm = torch.randn(4, 16, 8, 8).contiguous(memory_format=torch.channels_last), nn.BatchNorm2d(16, eps=0)
    special = [math.nan, math.inf, 0.0, -0.0, 3.0e38, 1e-30, 256.5, 257.5, -math.inf]
    images[0, : len(special), 0, 0] = torch.tensor(special)
    nn.init.constant_(norm.weight, 1 + 2**-8)
    rounded = images.bfloat16()
    found = norm_relu.infer(rounded, norm, None)
    expected = (rounded.float() * norm.weight.detach()[:, None, None]).relu().bfloat16()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    norm.bias.data.view(torch.int32)[15] = 0x7FFFFFFF  # rounded as a number it would be -0
    assert norm_relu.infer(rounded, norm, None)[:, 15].isnan().all()
    norm.bias.data.zero_()
    made = norm_relu.forward(rounded, norm, None, moves=False)
    assert made.output[:, :2].isnan().all()  # a mean or a deviation is none
    assert made.output[:, 9:].isfinite().all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "size"), [(16, 4), (64, 8), (128, 2)])
def test_pooling_and_its_gradient_are_torchs_bit_for_bit(channels: int, size: int, precision: torch.dtype) -> None:
    torch.manual_seed(1)
    images = torch.randint(-2, 3, (5, channels, size, size)).to(precision).contiguous(memory_format=torch.channels_last)  # many ties
    gradient = torch.randn(10, channels, size // 2, size // 2).to(precision).contiguous(memory_format=torch.channels_last)
    assert norm_relu.pool(images).equal(max_pool2d(images, 2))
    found = norm_relu.unpool(gradient, images)
    for part, arrives in zip(found.split(5), gradient.split(5), strict=True):
        given = images.clone().requires_grad_()
        max_pool2d(given, 2).backward(arrives)
        assert given.grad is not None
        assert part.equal(given.grad)
    for y, x in product((0, 1), (0, 1)):
        one = images.clone()
        one[2, 3, y, x] = math.nan
        assert norm_relu.pool(one)[2, 3, 0, 0].isnan()
        assert norm_relu.unpool(gradient, one)[2, 3, :2, :2].sum() == gradient[2, 3, 0, 0]


@pytest.mark.usefixtures("threads")
def test_a_layer_has_the_same_bits_whatever_the_number_of_threads() -> None:
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        given, norm = drawn(16, 32, 2, torch.float32, batch=8), norm_of(16)
        made = norm_relu.forward(given.raw, norm, given.beside, moves=True)
        slopes = torch.empty(2, 32)
        of_raw = norm_relu.backward(given.arrives, None, made, norm, (slopes[:, :16], slopes[:, 16:]), keeps=True)
        assert norm.running_var is not None
        found.append([*made, of_raw, slopes, norm.running_var])
    for others in found[1:]:
        assert all(one.equal(other) for one, other in zip(found[0], others, strict=True))


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (32, 16, 2)])
@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 3), (4, 2, 1), (36, 12, 5)])
@pytest.mark.usefixtures("threads")
def test_two_gradients_of_a_convolutions_weights_are_those_in_double_precision(
    inputs: int, outputs: int, stride: int, height: int, width: int, batch: int
) -> None:
    """Also where a processor has no instruction for it, and the kernel is not used."""
    torch.manual_seed(inputs)
    torch.set_num_threads(2)
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    images = channels_last(torch.randn(batch, inputs, stride * height, stride * width).bfloat16())
    gradient = channels_last(torch.randn(2 * batch, outputs, height, width).bfloat16())
    found = torch.full((2, layer.weight.numel() + 3), torch.nan)
    weight_gradient.weight_gradient(layer, images, gradient, found[:, 2:-1])
    for arrives, mine in zip(gradient.split(batch), found, strict=True):
        asked = (False, True, False)
        expected = differentiate(arrives.double(), images.double(), layer.weight.detach().double(), asked, stride)[1]
        assert apart(mine[2:-1], expected.permute(0, 2, 3, 1).flatten()) < 3e-6
        assert mine[[0, 1, -1]].isnan().all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (4, 4), (4, 2)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_weights_gradients_of_images_of_few_pixels_are_those_in_double_precision(height: int, width: int, precision: torch.dtype) -> None:
    torch.manual_seed(height)
    images, gradient = (channels_last(torch.randn(5, channels, height, width).to(precision)) for channels in (8, 12))
    found = torch.full((12, 8, 3, 3), torch.nan)
    few_places.weight_gradient(images, gradient, found)
    expected = differentiate(gradient.double(), images.double(), torch.empty(12, 8, 3, 3, dtype=torch.double), (False, True, False))[1]
    assert apart(found, expected) < TOLERANCE[precision]
    layer = nn.Conv2d(8, 12, 3, padding=1, bias=False)
    assert few_places.can(layer, images) is (max(height, width) <= (2 if precision == torch.float32 else 4))
    assert not few_places.can(nn.Conv2d(8, 12, 3, 2, padding=1, bias=False), images)


def test_weights_are_differentiated_by_the_kernel_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 16, 8, 8, dtype=torch.bfloat16)
    layer = nn.Conv2d(16, 32, 3, 2, padding=1, bias=False)
    assert weight_gradient.can(layer, images) is weight_gradient.fast()
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx512_bf16", "amx_bf16"}))
    weight_gradient.fast.cache_clear()
    assert not weight_gradient.fast()
    weight_gradient.fast.cache_clear()
    monkeypatch.setattr(weight_gradient, "fast", lambda: True)
    assert weight_gradient.can(layer, images)
    assert not weight_gradient.can(layer, images.float())
    assert not weight_gradient.can(layer, images[:, :, :, :6])  # three pixels of the result make no pairs
    assert not weight_gradient.can(nn.Conv2d(3, 16, 3, padding=1, bias=False), images[:, :3])
    assert not weight_gradient.can(nn.Conv2d(64, 128, 3, padding=1, bias=False), images)


NETWORKS = [
    pytest.param(lambda: resnet(8, 16), id="resnet"),
    pytest.param(lambda: resnet(14, 32), id="wide"),
    pytest.param(lambda: vgg_bn(11), id="vgg"),
]
PRECISIONS = [
    pytest.param(torch.float32, nullcontext, 1e-2, id="fp32"),
    pytest.param(torch.bfloat16, lambda: torch.autocast("cpu", torch.bfloat16), 0.6, id="bf16"),
]


def networks(build: Any, precision: torch.dtype, context: Any) -> tuple[Network, Network, Batch]:
    """As torch has it, and fused; some images."""
    torch.manual_seed(2)
    model = build().to(memory_format=torch.channels_last).train()
    count_by_epoch(model)
    images = torch.randn(24, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.randint(100, (24,)), torch.randint(20, (24,)))
    return Network(model, context), Network(model, context, fused=fuse_on_host(model, precision)), batch


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize(("precision", "context", "tolerance"), PRECISIONS)
def test_a_trunks_gradients_and_features_are_torchs(
    build: Any, precision: torch.dtype, context: type[AbstractContextManager[object]], tolerance: float
) -> None:
    plain, fused, batch = networks(build, precision, context)
    found: list[TrunkGradients] = []
    moved, features = [], []
    for network in (plain, fused):
        with untouched(network.model):
            found.append(through(network, batch, 0.5))
            moved.append([buffer.clone() for buffer in network.model.trunk.buffers()])
            network.model.eval()
            with torch.no_grad():
                features.append(network.features(batch.images))
    for name in ("fine", "coarse"):
        expected, given = (getattr(one, name).double() for one in found)
        assert apart(given, expected) < tolerance, name
    for expected, given in zip(*moved, strict=True):
        torch.testing.assert_close(given, expected, rtol=tolerance / 10, atol=tolerance / 10)
    assert apart(features[1], features[0].double()) < (1e-5 if precision == torch.float32 else 0.05)


@pytest.mark.parametrize("build", NETWORKS)
def test_one_backward_pass_and_another_on_the_same_activations_are_two_at_once(build: Any) -> None:
    _, fused, batch = networks(build, torch.float32, nullcontext)
    parameters = list(fused.model.trunk.parameters())
    with untouched(fused.model):
        features = fused.features(batch.images)
        fine, coarse = (cross_entropy(logits, labels) for logits, labels in zip(fused.logits(features), batch[1:], strict=True))
        alone = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (fine, coarse, fine)]
    assert all(one.equal(again) for one, again in zip(alone[0], alone[2], strict=True))
    with untouched(fused.model):
        both = through(fused, batch, 1.0)
    for one, vector in zip(alone, (both.fine, both.coarse), strict=False):
        flat = torch.cat([part.permute(0, 2, 3, 1).flatten() if part.dim() == 4 else part for part in one])
        assert apart(vector, flat.double()) < 1e-6


def test_a_trunks_gradients_are_the_same_whoever_differentiates_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel where it would not be used, too."""
    _, fused, batch = networks(lambda: resnet(8, 16), torch.bfloat16, PRECISIONS[1].values[1])
    found = []
    for fast in (False, True):
        monkeypatch.setattr(weight_gradient, "fast", lambda: fast)  # noqa: B023 - called before the next turn
        with untouched(fused.model):
            found.append(through(fused, batch, 0.5))
    for name in ("fine", "coarse"):
        rounded, exact = (getattr(one, name) for one in found)
        assert not rounded.equal(exact)
        places = [0, *accumulate(parameter.numel() for parameter in fused.model.trunk.parameters())]
        for begin, end in pairwise(places):
            assert apart(rounded[begin:end], exact[begin:end].double()) < 1e-2


def test_losses_again_leave_the_running_statistics_as_they_are() -> None:
    _, fused, batch = networks(lambda: resnet(8, 16), torch.float32, nullcontext)
    before = [buffer.clone() for buffer in fused.model.buffers()]
    again = fused.losses_again(batch)
    assert all(one.equal(other) for one, other in zip(before, fused.model.buffers(), strict=True))
    with torch.no_grad():
        assert fused.losses(fused.features(batch.images), batch).fine.equal(again.fine)


def test_what_the_kernels_cannot_do_is_left_to_torch() -> None:
    assert host_trunk.fits(resnet(8, 16).trunk)
    assert host_trunk.fits(vgg_bn(16).trunk)
    assert not host_trunk.fits(resnet(8, 8).trunk)
    assert not host_trunk.fits(resnet(8, 16).double().trunk)
    assert not host_trunk.fits(nn.Sequential(nn.Flatten()))
    frozen = resnet(8, 16)
    frozen.trunk.get_submodule("0").requires_grad_(False)
    assert not host_trunk.fits(frozen.trunk)
    with pytest.raises(ValueError, match="channels last"):
        fuse_on_host(resnet(8, 16), torch.float32)
    model = resnet(8, 16).to(memory_format=torch.channels_last)
    assert fuse_on_host(model, torch.float32)
    model.trunk.get_submodule("3").register_forward_hook(lambda *_: None)
    assert fuse_on_host(model, torch.float32) is None


class Cautious(nn.ReLU):
    """Does what it likes."""


def stack(*pools: int, channels: int = 16, relu: type[nn.Module] = nn.ReLU, shares: bool = False) -> nn.Sequential:
    """Layers before each of which, but the first, images are halved so often."""
    layers: list[nn.Module] = []
    shared = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    for i, halves in enumerate(pools):
        convolution = nn.Conv2d(channels if i else 3, channels, 3, padding=1, bias=False)
        pool = [nn.MaxPool2d(2)] * halves  # one module, which occurs again
        layers += [*pool, shared if shares and i else convolution, nn.BatchNorm2d(channels), relu()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_images_that_become_too_small_and_modules_that_are_not_what_they_look_like_are_left_to_torch() -> None:
    assert host_trunk.fits(stack(0, 1, 1, 1, 1))
    assert not host_trunk.fits(stack(0, 1, 1, 1, 1, 1))  # of one pixel
    assert not host_trunk.fits(stack(0, 0, relu=Cautious))
    assert host_trunk.fits(stack(0, 0))
    assert not host_trunk.fits(stack(0, 0, 0, shares=True))
    twice = stack(0, 0)
    pool = nn.MaxPool2d(2)
    trunk = nn.Sequential(*twice[:3], pool, *twice[3:6], pool, *twice[6:])
    assert [layer.window for layer in host_trunk.layers_of(trunk)] == [2, 2]


@pytest.mark.parametrize("shape", [(1, 16, 1, 2), (3, 32, 1, 1)])
def test_numbers_that_are_not_as_many_as_the_kernels_need_are_refused(shape: tuple[int, ...]) -> None:
    raw = channels_last(torch.zeros(shape))
    with pytest.raises(ValueError, match="no multiple of 64"):
        norm_relu.forward(raw, nn.BatchNorm2d(shape[1]), None, moves=True)
    with pytest.raises(ValueError, match="no windows"):
        norm_relu.pool(raw)


def built(width: int, engine: Engine, said: list[str]) -> Trainer:
    return build_trainer(resnet(8, width), make("equal"), built_in_images(CPU), engine, RECIPE, seed=1, say=said.append)


def test_auto_fuses_on_a_cpu_unless_it_is_asked_to_compile() -> None:
    assert resolve(AUTO).fused
    assert resolve(AUTO | {"precision": "bf16"}, steps=10**6).fused
    assert not resolve(AUTO | {"compile": True}).fused
    assert resolve(AUTO | {"compile": True, "fused": True}).fused
    assert not resolve(AUTO | {"fused": False}).fused
    assert not resolve(AUTO | {"channels_last": False}).fused
    said: list[str] = []
    trainer = built(16, replace(resolve(AUTO), compile=True), said)
    assert trainer.engine.fused
    assert not trainer.engine.compile
    assert not built(8, resolve(AUTO), said).engine.fused
    assert not said


def test_without_a_compiler_layers_are_torchs_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(source: Path) -> None:
        raise FileNotFoundError("no C++ compiler")

    norm_relu._library.cache_clear()
    norm_relu._function.cache_clear()
    monkeypatch.setattr(norm_relu, "load", missing)
    said: list[str] = []
    trainer = built(16, resolve(AUTO), said)
    monkeypatch.undo()
    assert not trainer.engine.fused
    assert said == ["warning: fused layers in C++ do not work here (FileNotFoundError: no C++ compiler): they are torch's"]


def test_a_library_is_compiled_once_and_kept_for_those_who_can_execute_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library.load.cache_clear()
    first = library.load(norm_relu.SOURCE)
    (kept,) = (tmp_path / "cache" / "mtlsweep").iterdir()
    when = kept.stat().st_mtime_ns
    library.load.cache_clear()
    assert library.load(norm_relu.SOURCE) is not first
    assert kept.stat().st_mtime_ns == when
    with monkeypatch.context() as patch:
        patch.setattr(library, "COMPILERS", ())
        library.load.cache_clear()
        library.load(norm_relu.SOURCE)  # another machine has compiled it
    for name, value in (("instructions", frozenset({"another"})), ("facts", {"CPU part": "another"})):
        with monkeypatch.context() as patch:
            patch.setattr(processor, name, lambda: value)  # noqa: B023 - called before the next turn
            library.load.cache_clear()
            library.load(norm_relu.SOURCE)
    assert len(list(kept.parent.iterdir())) == 3
    kept.unlink()  # which leaves it to those who have loaded it
    kept.write_bytes(b"damaged")
    library.load.cache_clear()
    library.load(norm_relu.SOURCE)
    library.load.cache_clear()


@pytest.mark.usefixtures("threads")
def test_another_openmp_than_torchs_is_refused() -> None:
    before = torch.get_num_threads()
    for count in (before, before + 1):
        with pytest.raises(RuntimeError, match="OpenMP is not torch's"):
            library._check_threads(cast(ctypes.CDLL, SimpleNamespace(threads=lambda: count)))  # noqa: B023
        assert torch.get_num_threads() == before


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    wrong = tmp_path / "wrong.cpp"
    wrong.write_text("nothing that is C++\n")
    with pytest.raises(RuntimeError, match=r"failed: [^$]*error"):
        library.load(wrong)
    assert not list((tmp_path / "cache" / "mtlsweep").iterdir())
    monkeypatch.setenv("CXX", "no-such-compiler --verbose")
    with pytest.raises(FileNotFoundError):
        library.load(wrong)
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(library, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(FileNotFoundError, match="no C\\+\\+ compiler"):
        library.load(wrong)


def test_where_nothing_can_be_kept_a_library_is_compiled_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library.load.cache_clear()
    assert library.load(norm_relu.SOURCE).threads() == torch.get_num_threads()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])  # a container's user
    library.load.cache_clear()
    assert library.load(norm_relu.SOURCE)
    library.load.cache_clear()


SWEEP = ["-m", *TINY, "model.width=16", EVERY_EPOCH, "loss=equal,pcgrad", "seed=1,2", "schedule.epochs=2", "schedule.batch_size=10"]


def runs(study: str) -> list[Path]:
    return sorted(path.parent for path in Path("runs", study).glob("**/run.json"))


def test_a_fused_run_says_so_and_has_the_same_bits_in_lanes_and_continued(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = cli(*SWEEP, "study=alone")
    assert ended.status == 0, ended
    assert "channels last, not compiled, fused" in ended.out
    assert cli(*SWEEP, "study=together", "hydra.launcher.lanes=4").status == 0
    with monkeypatch.context() as patched:
        interrupt_after(12, patched)
        assert cli(*SWEEP, "study=continued").status == 130
    assert cli(*SWEEP, "study=continued").status == 0
    alone = runs("alone")
    assert len(alone) == 4
    for others in (runs("together"), runs("continued")):
        for run, other in zip(alone, others, strict=True):
            assert result(run)["engine"]["fused"] is True
            assert metrics(run) == metrics(other)


def test_a_run_that_began_fused_does_not_go_on_without(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = [*TINY, "model.width=16", EVERY_EPOCH, "study=s", "schedule.epochs=2", "schedule.batch_size=10"]
    with monkeypatch.context() as patched:
        interrupt_after(12, patched)
        assert cli(*run).status == 130
    monkeypatch.setattr(build_module, "_works", lambda *_: False)
    ended = cli(*run)
    assert ended.status == 1
    assert "fused layers, which do not work" in ended.out + ended.err
