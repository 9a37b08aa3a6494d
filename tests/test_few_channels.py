"""Convolutions of few channels: the Triton kernels, executed on a CPU by Triton's interpreter, and the layers that use them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from packaging.version import Version
from recorded import CPU, built_in_images, make
from test_engine import AUTO
from torch import nn

from mtlsweep.models import TwoHeads, resnet, vgg_bn
from mtlsweep.train.build import build_trainer
from mtlsweep.train.convolutions import FewChannels, fits, take_over
from mtlsweep.train.engine import Engine, resolve
from mtlsweep.train.epoch import Trainer

pytest.importorskip("triton", reason="no Triton, which comes with torch for GPUs")
from interpreted import CASES  # loads it

from mtlsweep.train.kernels import crop_flip, few_channels

needs_interpreter = pytest.mark.skipif(
    Version(version("triton")) < Version("3.7") and Version(version("numpy")) >= Version("2.4"),
    reason="Triton 3.6's interpreter loops to no number that a kernel is given, with NumPy 2.4",
)


@pytest.mark.processes
@needs_interpreter
def test_what_the_kernels_make_is_what_torch_makes() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}  # which Triton reads when it is loaded
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("interpreted.py"))], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["batch"]
    found = told["errors"]
    assert {name: len(errors) for name, errors in found.items()} == {name: 3 - (layer[0] == 3) for name, (layer, _) in CASES.items()}
    assert max(error for errors in found.values() for error in errors.values()) < 1e-6
    assert [len(errors) for errors in told["trunks"]] == [1 + 3 * layers + 2 + 2 * layers + 5 for layers in (7, 3)]
    assert max(error for errors in told["trunks"] for error in errors.values()) < 5e-6
    assert max(error for errors in told["windows"] + told["places"] + told["heads"] for error in errors.values()) < 1e-6


def test_layers_of_few_channels_are_taken_over_and_keep_their_parameters() -> None:
    model = resnet(20)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert take_over(model) == 19
    assert sum(isinstance(layer, FewChannels) for layer in model.modules()) == 19
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert take_over(model) == 0
    assert take_over(resnet(56)) == 55
    assert take_over(resnet(20, width=32)) == take_over(vgg_bn(16)) == 0


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(16, 16, 5, padding=2, bias=False),
        nn.Conv2d(16, 16, 3, bias=False),
        nn.Conv2d(16, 128, 3, padding=1, bias=False),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(16, 16, 3, 3, padding=1, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, bias=False, padding_mode="circular"),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False),
    ],
)
def test_other_layers_stay_as_they_are(other: nn.Conv2d) -> None:
    assert fits(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    assert not fits(other)


BF16 = Engine(torch.device("cpu"), "bf16", channels_last=True, threads=1, compile=False, graph=False, triton=True)
RECIPE = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "batch_size": 8}


def built(model: TwoHeads, said: list[str]) -> Trainer:
    return build_trainer(model, make("equal"), built_in_images(CPU), BF16, RECIPE, seed=1, say=said.append)


def test_where_a_kernel_fails_the_layers_are_torchs_again_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*arguments: object) -> None:
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr(few_channels, "weight_gradient", too_large)
    monkeypatch.setattr(few_channels, "convolve", in_torch)
    monkeypatch.setattr(few_channels, "input_gradient", lambda gradient, *rest: torch.zeros_like(gradient))
    model, said = resnet(8), list[str]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = built(model, said)
    assert said == ["warning: convolutions in Triton do not work here (RuntimeError: out of resource: shared memory): they are cuDNN's"]
    assert not trainer.engine.triton
    assert {type(layer) for layer in model.modules() if isinstance(layer, nn.Conv2d)} == {nn.Conv2d}
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert model.training


def in_torch(images: torch.Tensor, weights: torch.Tensor, stride: int, precision: torch.dtype) -> torch.Tensor:
    result = nn.functional.conv2d(images.to(precision), weights.to(precision), None, stride, 1)
    return result.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("began", "goes_on", "expected"), [("cuda", "cuda", True), ("cuda", "cpu", False), ("cpu", "cuda", False)])
def test_resumed_run_keeps_what_it_began_with_where_that_exists(began: str, goes_on: str, expected: bool) -> None:
    first, second = (replace(BF16, device=torch.device(name), triton=name == "cuda") for name in (began, goes_on))
    assert second.as_begun(first.describe()).triton is expected


@pytest.mark.parametrize(
    ("changed", "expected"), [({}, True), ({"triton": False}, False), ({"precision": "fp32"}, False), ({"channels_last": False}, False)]
)
def test_auto_has_triton_in_bf16_and_channels_last_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert resolve(AUTO | {"device": "cuda"} | changed).triton is expected
    assert not resolve(AUTO | changed).triton


def test_the_kernel_of_mini_batches_is_compiled_once() -> None:
    """What it is given differs between steps that are executed and those that are recorded, within which nothing can be compiled."""
    given = [parameter for parameter in crop_flip._crop_flip.params if not parameter.is_constexpr]
    varying = [parameter for parameter in given if parameter.name in ("kind_stride", "image_stride", "indices", "codes")]
    assert len(varying) == 4
    for parameter in varying:
        assert parameter.do_not_specialize or parameter.do_not_specialize_on_alignment


def test_wider_networks_are_not_tried() -> None:
    said = list[str]()
    assert not built(vgg_bn(11), said).engine.triton
    assert not said
