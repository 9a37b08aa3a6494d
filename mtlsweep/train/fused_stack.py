"""A VGG's trunk in training: of its convolutions most are cuDNN's, those of the smallest images (`few_places`), the first one, and all that
lies between them (`norm_relu_pool`) are kernels of our own."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import conv2d

from mtlsweep.train import convolutions
from mtlsweep.train.aside import Aside
from mtlsweep.train.trunk import Forward, Trunk, channels_last, differentiate, from_pool, once_each, parts_in_order, plain
from mtlsweep.train.two_gradients import parts_of

# Channels (in, out) of a first layer, which is convolved by `few_channels`: of an image cuDNN's kernels are several times as slow.
FIRST = (3, 64)
# Of all layers' results: what the kernels sum at once.
MULTIPLE = 64
# Halvings of 32 x 32 pixels after which a window of 2 x 2 has nothing to take any more.
MOST_POOLED = 5


class Layer(NamedTuple):
    """A convolution of the output of the layer before, its BatchNorm, ReLU, and max pooling of a window or, of 1, none."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    window: int


class FusedStack(Trunk):
    """Convolutions in a row. Their weights are rounded all at once, and so are their gradients widened.

    The gradients of the weights, which nothing waits for until the end of a backward pass, are made beside the rest.

    Args:
        trunk: one for which `layers_of` finds layers; on its device, channels last.
        precision: of the activations.
    """

    def __init__(self, trunk: nn.Module, precision: torch.dtype) -> None:
        self.layers = layers_of(trunk)
        widest = max(layer.convolution.out_channels for layer in self.layers)
        super().__init__([layer[:2] for layer in self.layers], precision, tickets=widest // MULTIPLE)
        self._weights = [layer.convolution.weight for layer in self.layers[1:]]
        self._rounded = [torch.empty_like(weight, dtype=precision, requires_grad=False) for weight in self._weights]
        self._aside = Aside(self.device)

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.infer`."""
        from mtlsweep.train.kernels import few_channels, norm_relu_pool  # loads Triton

        with torch.no_grad():
            self._round()
            last = images
            for i, ((layer, norm, window), (mean, factor)) in enumerate(zip(self.layers, self._running(), strict=True)):
                raw = self._convolved(last, i) if i else few_channels.convolve(images, layer.weight, 1, self.precision)
                last = norm_relu_pool.output(raw, mean, factor, norm.bias, window)
            return last.mean((2, 3))

    def forward(self, images: torch.Tensor, moves: bool = True) -> list[Forward]:
        """Implements `Trunk.forward`."""
        from mtlsweep.train.kernels import fused_forward, norm_relu_pool

        self._round()
        made: list[Forward] = []
        for i, (layer, norm, window) in enumerate(self.layers):
            if i:
                raw = self._convolved(made[-1].output, i)
                statistics = norm_relu_pool.statistics(raw, norm, self.ticket, moves)
            else:
                raw, statistics = fused_forward.convolve(images, layer, norm, self.precision, self.ticket, moves)
            output = norm_relu_pool.output(raw, statistics[0], statistics[2], norm.bias, window)
            made.append(Forward(raw, statistics, output))
        return made

    def backward(self, images: torch.Tensor, made: Sequence[Forward], arrives: torch.Tensor) -> torch.Tensor:
        """Implements `Trunk.backward`."""
        from mtlsweep.train.kernels import few_channels, norm_relu_pool, weight_sums

        vectors, gradients, slopes = self.receiving(made, len(arrives))
        found: dict[int, list[torch.Tensor]] = {}  # by the layer, its weights' where they are not yet where they belong
        held = []  # until they have been read
        entered = from_pool(arrives, made[-1].output)
        for i in reversed(range(len(made))):
            of_norm = (made[i], self.layers[i].norm.bias, self.layers[i].window, slopes[i])
            norm_relu_pool.enter(entered, *of_norm, self.ticket)
            gradient = norm_relu_pool.differentiate(entered, *of_norm)
            held.append(gradient)
            if i:
                self._aside.follow()
                entered = self._of_images(gradient, i)  # first, for all that is to come waits for it
                with self._aside.work():
                    found[i] = self._of_weights(made[i - 1].output, gradient, i, gradients[3 * i])
        of_first = weight_sums.Summed(few_channels.parts_of(len(images[0]), made[0].raw), self.layers[0].convolution.weight.numel(), 0)
        parts = torch.empty(len(arrives), of_first.number * of_first.size, dtype=torch.float32, device=self.device)
        few_channels.weight_gradient_parts(images, gradient, 1, parts)
        weight_sums.add(parts, self.plan(len(images), [of_first]), vectors)
        self._aside.join()
        each = [parts_of(vector, self.parameters) for vector in vectors]
        belong = [one[3 * i] for i, ones in found.items() if ones for one in each]
        if belong:
            torch._foreach_copy_(belong, [*chain(*found.values())])
        self._aside.leave()
        return vectors

    def _running(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each layer's running mean, and what a distance from it is multiplied by."""
        norms = [layer.norm for layer in self.layers]
        means, variances = ([getattr(norm, name) for norm in norms] for name in ("running_mean", "running_var"))
        deviations = torch._foreach_sqrt(torch._foreach_add(variances, [norm.eps for norm in norms]))
        return zip(means, torch._foreach_div([norm.weight for norm in norms], deviations), strict=True)

    def _round(self) -> None:
        torch._foreach_copy_(self._rounded, self._weights)

    def _convolved(self, images: torch.Tensor, i: int) -> torch.Tensor:
        from mtlsweep.train.kernels import few_places

        weights = self._rounded[i - 1]
        if few_places.fit(images, weights):
            return few_places.convolve(images, weights)
        return channels_last(conv2d(images, weights, padding=1))

    def _of_images(self, gradient: torch.Tensor, i: int) -> torch.Tensor:
        from mtlsweep.train.kernels import few_channels, few_places

        weights = self._rounded[i - 1]
        if few_places.fit(gradient, weights):
            return few_places.input_gradient(gradient, weights)
        unread = few_channels.empty((len(gradient), weights.shape[1], *gradient.shape[2:]), gradient.dtype, gradient)
        return channels_last(differentiate(gradient, unread, weights, (True, False, False))[0])

    def _of_weights(self, images: torch.Tensor, gradient: torch.Tensor, i: int, result: torch.Tensor) -> list[torch.Tensor]:
        """Those of K gradients, which may be in the result already, `(K, n)`: then none."""
        from mtlsweep.train.kernels import few_places

        weights = self._rounded[i - 1]
        if few_places.fit(images, weights):
            few_places.weight_gradient(images, gradient, result)
            return []
        return [differentiate(one, images, weights, (False, True, False))[1] for one in gradient.split(len(images))]


def fits(trunk: nn.Module) -> bool:
    """Whether a trunk is a VGG's all of whose layers the kernels can do, of images of 32 x 32 pixels."""
    try:
        layers = layers_of(trunk)
    except TypeError:
        return False
    first = layers[0].convolution
    alike = all(_fits(layer.convolution) and plain(layer.norm) for layer in layers)
    pooled = sum(layer.window > 1 for layer in layers)
    return alike and len(layers) > 1 and (first.in_channels, first.out_channels) == FIRST and pooled <= MOST_POOLED


def _fits(layer: nn.Conv2d) -> bool:
    return convolutions.plain(layer) and layer.stride == (1, 1) and layer.out_channels % MULTIPLE == 0


def layers_of(trunk: nn.Module) -> list[Layer]:
    """The layers of a VGG's trunk, in the order in which they are executed.

    Raises:
        TypeError: it is none.
    """
    match parts_in_order(trunk):
        case [*modules, nn.AdaptiveAvgPool2d(output_size=1), nn.Flatten()] if modules:
            layers = [*_in_a_row(modules)]
            once_each(layers)
            return layers
    raise TypeError("not the trunk of a VGG")


def _in_a_row(modules: list[nn.Module]) -> Iterator[Layer]:
    while modules:
        match modules:
            case [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm, nn.ReLU(), nn.MaxPool2d() as pool, *modules] if _halves(pool):
                yield Layer(convolution, norm, 2)
            case [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm, nn.ReLU(), *modules]:
                yield Layer(convolution, norm, 1)
            case _:
                raise TypeError("not a layer of a VGG")


def _halves(pool: nn.MaxPool2d) -> bool:
    shape = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return shape == (2, 2, 0, 1) and not pool.ceil_mode and not pool.return_indices
