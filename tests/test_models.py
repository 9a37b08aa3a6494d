from collections.abc import Callable

import pytest
import torch
from torch import nn

from mtlsweep.models import TwoHeads, resnet, vgg_bn

# Parameters with both heads, and multiply-accumulates of a forward pass in millions.
NETWORKS = [
    pytest.param(lambda: resnet(20), 276_872, 40.56, id="resnet20"),
    pytest.param(lambda: resnet(56), 860_168, 125.5, id="resnet56"),
    pytest.param(lambda: vgg_bn(16), 14_780_472, 313.3, id="vgg16bn"),
]


def multiply_accumulates(model: nn.Module) -> int:
    count = 0

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal count
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        per_output = weight[0].numel()
        count += output[0].numel() * per_output

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    return count


@pytest.mark.parametrize(("build", "parameters", "millions"), NETWORKS)
def test_size_is_the_benchmarks(build: Callable[[], TwoHeads], parameters: int, millions: float) -> None:
    model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert multiply_accumulates(model) / 1e6 == pytest.approx(millions, rel=2e-3)


@pytest.mark.parametrize(("build", "parameters", "millions"), NETWORKS)
def test_logits_of_both_tasks_come_from_one_trunk(build: Callable[[], TwoHeads], parameters: int, millions: float) -> None:
    model = build().eval()
    images = torch.randn(2, 3, 32, 32)
    fine, coarse = model(images)
    assert fine.shape == (2, 100)
    assert coarse.shape == (2, 20)
    features = model.trunk(images)
    torch.testing.assert_close(fine, model.fine_head(features))
    torch.testing.assert_close(coarse, model.coarse_head(features))


def test_convolutions_have_kaiming_normal_weights_and_no_bias() -> None:
    for module in resnet(20).modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            expected = (2 / module.weight[0].numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.15)


def test_shortcut_subsamples_and_pads_channels_with_zeros() -> None:
    from mtlsweep.models.resnet import BasicBlock

    block = BasicBlock(4, 8, stride=2)
    x = torch.randn(1, 4, 6, 6)
    shortcut = block._shortcut(x)
    assert shortcut.shape == (1, 8, 3, 3)
    torch.testing.assert_close(shortcut[:, 2:6], x[:, :, ::2, ::2])
    assert not shortcut[:, :2].any()
    assert not shortcut[:, 6:].any()


@pytest.mark.parametrize("build", [lambda: resnet(21), lambda: resnet(2), lambda: resnet(20, width=0), lambda: vgg_bn(17)])
def test_impossible_size_is_refused(build: Callable[[], TwoHeads]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()
