"""A ResNet's or a VGG's trunk on a processor: convolutions are torch's, and what lies between two of them is one kernel of our own forward
and one backward (`host.norm_relu`)."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from mtlsweep.train import convolutions, fused_stack, fused_trunk
from mtlsweep.train.fused_trunk import Shortcut
from mtlsweep.train.host import few_places, norm_relu, weight_gradient
from mtlsweep.train.trunk import Forward, Trunk, channels_last, differentiate, from_pool, plain
from mtlsweep.train.two_gradients import parts_of

# Times that images of 32 x 32 pixels are halved at most: of one pixel and 16 channels the numbers might not be as many as the kernels need.
MOST_HALVED = 4


class Layer(NamedTuple):
    """A convolution, its BatchNorm, a shortcut or none, ReLU, and max pooling of a window or, of 1, none."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    shortcut: Shortcut | None
    window: int


class HostTrunk(Trunk):
    """Both gradients of a strategy that needs two are made side by side: of the images' they are one convolution.

    Args:
        trunk: one for which `layers_of` finds layers; channels last.
        precision: of the activations.

    Raises:
        ValueError: it is not channels last.
    """

    def __init__(self, trunk: nn.Module, precision: torch.dtype) -> None:
        self.layers = layers_of(trunk)
        if not all(layer.convolution.weight.is_contiguous(memory_format=torch.channels_last) for layer in self.layers):
            raise ValueError("its weights do not lie channels last")
        super().__init__([layer[:2] for layer in self.layers], precision)
        self._weights = [layer.convolution.weight for layer in self.layers]
        rounds = precision != torch.float32
        self._rounded = [torch.empty_like(weight, dtype=precision, requires_grad=False) for weight in self._weights] if rounds else None

    def features_of(self, made: Sequence[Forward]) -> torch.Tensor:
        """Implements `Trunk.features_of`: an output is what has not been pooled yet."""
        return self._pooled(made[-1].output, len(made) - 1).mean((2, 3))

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.infer`."""
        with torch.no_grad():
            weights, before, last = self._round(), images, self._prepared(images)
            for i, layer in enumerate(self.layers):
                beside = _forth(layer.shortcut, before)
                before, last = last, self._pooled(norm_relu.infer(_convolve(last, weights[i], layer), layer.norm, beside), i)
            return last.mean((2, 3))

    def forward(self, images: torch.Tensor, moves: bool = True) -> list[Forward]:
        """Implements `Trunk.forward`."""
        weights = self._round()
        made: list[Forward] = []
        last = self._prepared(images)
        for i, layer in enumerate(self.layers):
            beside = _forth(layer.shortcut, made[-2].output) if layer.shortcut else None
            made.append(norm_relu.forward(_convolve(last, weights[i], layer), layer.norm, beside, moves))
            last = self._pooled(made[-1].output, i)
        return made

    def backward(self, images: torch.Tensor, made: Sequence[Forward], arrives: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.backward`."""
        vectors, results, slopes = self.receiving(made, len(arrives))
        each = [parts_of(vector, self.parameters)[::3] for vector in vectors]
        entered = from_pool(arrives, self._pooled(made[-1].output, len(made) - 1))
        past: dict[int, torch.Tensor] = {}  # what went through ReLU beside a shortcut, by the layer whose output that takes
        for i in reversed(range(len(made))):
            layer = self.layers[i]
            beside = self._back(i, entered, past)
            if layer.window > 1:
                entered = norm_relu.unpool(entered, made[i].output)
            of_norm = (slopes[i].weight, slopes[i].bias)
            gradient = norm_relu.backward(entered, beside, made[i], layer.norm, of_norm, keeps=layer.shortcut is not None)
            if layer.shortcut:
                past[i - 2] = entered
            given = self._pooled(made[i - 1].output, i - 1) if i else self._prepared(images)
            self._differentiate_weights(gradient, given, i, results[3 * i], [parts[i] for parts in each])
            entered = self._differentiate_images(gradient, given, i) if i else gradient
        return vectors

    def _differentiate_weights(
        self, gradient: torch.Tensor, given: torch.Tensor, i: int, result: torch.Tensor, each: Sequence[torch.Tensor]
    ) -> None:
        """K gradients of a layer's weights.

        Args:
            gradient: of what came out of the convolution, `(K B, O, H / stride, W / stride)`.
            given: to it, `(B, C, H, W)`.
            i: the layer's place.
            result: where they go, `(K, n)`.
            each: the same K times in the weights' shape.
        """
        layer = self.layers[i].convolution
        if weight_gradient.can(layer, given):
            weight_gradient.weight_gradient(layer, given, gradient, result)
            return
        few = few_places.can(layer, given)
        for place, part in zip(each, gradient.split(len(given)), strict=True):
            if few:
                few_places.weight_gradient(given, part, place)
            else:
                place.copy_(differentiate(part, given, self._weights_of()[i], (False, True, False), layer.stride[0])[1])

    def _differentiate_images(self, gradient: torch.Tensor, given: torch.Tensor, i: int) -> torch.Tensor:
        """K gradients of what a convolution was given, `(K B, C, H, W)`. Arguments as of `_differentiate_weights`."""
        unread = given.new_empty(()).expand(len(gradient), *given.shape[1:])
        stride = self.layers[i].convolution.stride[0]
        return channels_last(differentiate(gradient, unread, self._weights_of()[i], (True, False, False), stride)[0])

    def _back(self, i: int, entered: torch.Tensor, past: dict[int, torch.Tensor]) -> torch.Tensor | None:
        """What has come to a layer's output by a shortcut: to be added, or added already."""
        came = past.pop(i, None)
        if came is None:
            return None
        shortcut = self.layers[i + 2].shortcut
        assert shortcut is not None
        stride, before = shortcut
        if (stride, before) == (1, 0):
            return came
        entered[:, :, ::stride, ::stride] += came[:, before : before + entered.shape[1]]
        return None

    def _weights_of(self) -> Sequence[torch.Tensor]:
        """The convolutions' weights as they were rounded last."""
        return self._weights if self._rounded is None else self._rounded

    def _round(self) -> Sequence[torch.Tensor]:
        if self._rounded is not None:
            torch._foreach_copy_(self._rounded, self._weights)
        return self._weights_of()

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        return channels_last(images.to(self.precision))

    def _pooled(self, output: torch.Tensor, i: int) -> torch.Tensor:
        return norm_relu.pool(output) if self.layers[i].window > 1 else output


def _convolve(images: torch.Tensor, weights: torch.Tensor, layer: Layer) -> torch.Tensor:
    return channels_last(conv2d(images, weights, stride=layer.convolution.stride, padding=1))


def _forth(shortcut: Shortcut | None, images: torch.Tensor) -> torch.Tensor | None:
    """What a shortcut adds: some of the pixels, between channels of zeros."""
    if shortcut is None or shortcut == (1, 0):
        return None if shortcut is None else images
    stride, before = shortcut
    return channels_last(pad(images[:, :, ::stride, ::stride], (0, 0, 0, 0, before, before)))


def fits(trunk: nn.Module) -> bool:
    """Whether a trunk is a ResNet's or a VGG's all of whose layers the kernels can do, of images of 32 x 32 pixels."""
    try:
        layers = layers_of(trunk)
    except TypeError:
        return False
    halvings = list(accumulate((layer.convolution.stride[0] > 1) + (layer.window > 1) for layer in layers))
    return all(map(_fits, layers, [0, *halvings]))


def _fits(layer: Layer, halvings: int) -> bool:
    """Whether the kernels can do a layer of images that have been halved so often."""
    convolution = layer.convolution
    halvings += convolution.stride[0] > 1
    alike = convolutions.plain(convolution) and convolution.stride in ((1, 1), (2, 2)) and plain(layer.norm)
    trained = all(parameter.requires_grad and parameter.dtype == torch.float32 for part in layer[:2] for parameter in part.parameters())
    return alike and trained and norm_relu.fits(convolution.out_channels) and halvings <= MOST_HALVED


def layers_of(trunk: nn.Module) -> list[Layer]:
    """The layers of a trunk, in the order in which they are executed.

    Raises:
        TypeError: it is neither a ResNet's nor a VGG's.
    """
    try:
        return [Layer(*layer, window=1) for layer in fused_trunk.layers_of(trunk)]
    except TypeError:
        return [Layer(convolution, norm, None, window) for convolution, norm, window in fused_stack.layers_of(trunk)]
