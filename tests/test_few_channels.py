"""Convolutions of few channels: the Triton kernels, executed on a CPU by Triton's interpreter, and the layers that use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from torch import nn

from mtlsweep.models import resnet, vgg_bn
from mtlsweep.train.convolutions import FewChannels, fits, take_over

pytest.importorskip("triton", reason="no Triton, which comes with torch for GPUs")
from interpreted import CASES  # loads it


@pytest.mark.processes
def test_convolution_and_both_gradients_are_those_of_torch() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}  # which Triton reads when it is loaded
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("interpreted.py"))], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert {name: len(errors) for name, errors in found.items()} == {name: 3 - (layer[0] == 3) for name, (layer, _) in CASES.items()}
    assert max(error for errors in found.values() for error in errors.values()) < 1e-6


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
