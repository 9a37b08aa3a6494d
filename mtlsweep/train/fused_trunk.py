"""A ResNet's trunk in training as few operations: each layer's BatchNorm is summed where it is convolved (`fused_forward`)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from mtlsweep.models.resnet import BasicBlock
from mtlsweep.train import convolutions
from mtlsweep.train.trunk import Forward, Trunk, once_each, parts_in_order, plain

if TYPE_CHECKING:
    from mtlsweep.train.kernels.fused_forward import Beside


class Shortcut(NamedTuple):
    """What is added before a ReLU: every `stride`th pixel of the output two layers before, from channel `before` on."""

    stride: int
    before: int


class Layer(NamedTuple):
    """A convolution of the output of the layer before, its BatchNorm, a shortcut or none, ReLU."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    shortcut: Shortcut | None


class FusedTrunk(Trunk):
    """A ResNet's. All activations, and the parts of all weights' gradients, are in memory until a backward pass ends: 125 MiB of ResNet-20
    with 128 images, 361 MiB of ResNet-56.

    Args:
        trunk: one for which `layers_of` finds layers; on its device, channels last.
        precision: of the activations.
    """

    def __init__(self, trunk: nn.Module, precision: torch.dtype) -> None:
        self.layers = layers_of(trunk)
        super().__init__([layer[:2] for layer in self.layers], precision)

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.infer`."""
        from mtlsweep.train.kernels import fused_forward  # loads Triton

        with torch.no_grad():
            before, last = None, images
            for layer in self.layers:
                beside = _beside(layer.shortcut, before)
                before, last = last, fused_forward.infer(last, layer.convolution, layer.norm, self.precision, beside)
            return last.mean((2, 3))

    def forward(self, images: torch.Tensor, moves: bool = True) -> list[Forward]:
        """Implements `Trunk.forward`."""
        from mtlsweep.train.kernels import fused_forward

        made: list[Forward] = []
        for layer in self.layers:
            given = made[-1].output if made else images
            raw, statistics = fused_forward.convolve(given, layer.convolution, layer.norm, self.precision, self.ticket, moves)
            beside = _beside(layer.shortcut, made[-2].output if layer.shortcut else None)
            made.append(Forward(raw, statistics, fused_forward.finish(raw, statistics, layer.norm, beside)))
        return made

    def backward(self, images: torch.Tensor, made: Sequence[Forward], arrives: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.backward`."""
        from mtlsweep.train.kernels import few_channels, fused_backward, weight_sums

        vectors, _, slopes = self.receiving(made, len(arrives))
        summed = [
            weight_sums.Summed(few_channels.parts_of(layer.convolution.in_channels, one.raw), layer.convolution.weight.numel(), target)
            for layer, one, target in zip(self.layers, made, self.offsets[:-1:3], strict=True)
        ]
        sizes = [one.number * one.size for one in summed]
        parts = torch.empty(len(arrives), sum(sizes), dtype=torch.float32, device=self.device)
        of_weights = parts.split(sizes, 1)
        entered = fused_backward.enter_from_pool(arrives.flatten(0, 1), made[-1], slopes[-1], self.ticket)
        behind: torch.Tensor | None = None
        for i in reversed(range(len(made))):
            layer = self.layers[i].convolution
            gradient = fused_backward.differentiate(entered, made[i], slopes[i])
            few_channels.weight_gradient_parts(made[i - 1].output if i else images, gradient, layer.stride[0], of_weights[i])
            if i:
                # What enters the layer behind has come past this one, by its shortcut.
                beside = _beside(self.layers[i + 1].shortcut, behind) if behind is not None else None
                how = (gradient, layer.weight, layer.stride[0], beside, made[i - 1], slopes[i - 1], self.ticket)
                behind, entered = entered, fused_backward.enter(*how)
        weight_sums.add(parts, self.plan(len(images), summed), vectors)
        return vectors


def _beside(shortcut: Shortcut | None, images: torch.Tensor | None) -> "Beside | None":
    from mtlsweep.train.kernels.fused_forward import Beside

    return Beside(images, *shortcut) if shortcut and images is not None else None


def fits(trunk: nn.Module) -> bool:
    """Whether a trunk is a ResNet's all of whose layers the kernels can do."""
    try:
        layers = layers_of(trunk)
    except TypeError:
        return False
    return all(convolutions.fits(layer.convolution) and plain(layer.norm) for layer in layers)


def layers_of(trunk: nn.Module) -> list[Layer]:
    """The layers of a ResNet's trunk, in the order in which they are executed.

    Raises:
        TypeError: it is none.
    """
    match parts_in_order(trunk):
        case [nn.Conv2d() as stem, nn.BatchNorm2d() as norm, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(output_size=1), nn.Flatten()]:
            if all(type(block) is BasicBlock for block in blocks):
                layers = [Layer(stem, norm, None), *_of_blocks(blocks)]
                once_each(layers)
                return layers
    raise TypeError("not the trunk of a ResNet")


def _of_blocks(blocks: Sequence[Any]) -> Iterator[Layer]:
    for block in blocks:
        yield Layer(block.conv1, block.bn1, None)
        yield Layer(block.conv2, block.bn2, Shortcut(block.stride, block.new_channels // 2))
