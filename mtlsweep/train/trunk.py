"""A trunk's features and their gradients by kernels of our own: what all such trunks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from mtlsweep.train.batch_norm import CountedByEpoch
from mtlsweep.train.once import once
from mtlsweep.train.two_gradients import parts_of

if TYPE_CHECKING:
    from mtlsweep.train.kernels.weight_sums import Summed

# Gradients that one backward pass makes at most.
AT_ONCE = 2

# Modules without parameters, whose subclasses may do anything.
OF_TORCH = (nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)

# K gradients of the features, `(K, B, C)` -> those of all parameters, `(K, P)`, each as `two_gradients.flat` lays it.
PullBack = Callable[[torch.Tensor], torch.Tensor]


class Forward(NamedTuple):
    """What a layer made of a mini-batch."""

    raw: torch.Tensor
    statistics: torch.Tensor
    output: torch.Tensor


class Slopes(NamedTuple):
    """Where the sums of gradients go: `(K, 2, O)`, what BatchNorm takes of them; gradients of its weight and bias, `(K, O)`, whose rows may
    be apart, both as far."""

    means: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


class Receiving(NamedTuple):
    """Where a backward pass writes K gradients of all parameters.

    Attributes:
        vectors: all of it, `(K, P)`.
        parameters: of each parameter, `(K, n)`.
        slopes: of each layer's BatchNorm.
    """

    vectors: torch.Tensor
    parameters: list[torch.Tensor]
    slopes: list[Slopes]


class Trunk(ABC):
    """It reads and moves what a model has, parameters and running statistics, and keeps none of its own.

    All that a forward pass made is in memory until a backward pass ends.

    Args:
        layers: convolutions, each with its BatchNorm, in the order in which they are executed; on their device, channels last.
        precision: of the activations.
        tickets: int32 zeros that the kernels need for each gradient.
    """

    def __init__(self, layers: Sequence[tuple[nn.Conv2d, nn.BatchNorm2d]], precision: torch.dtype, tickets: int = 1) -> None:
        self.precision = precision
        self.parameters = [parameter for convolution, norm in layers for parameter in (convolution.weight, norm.weight, norm.bias)]
        self.device = self.parameters[0].device
        self.ticket = torch.zeros(AT_ONCE * tickets, dtype=torch.int32, device=self.device)
        self._plans: dict[int, torch.Tensor] = {}  # of the weights' sums, by the size of a mini-batch
        self.offsets = list(accumulate((parameter.numel() for parameter in self.parameters), initial=0))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images `(B, 3, H, W)`, channels last -> features `(B, C)`, in training."""
        return _Pass.apply(self, images, *self.parameters)

    def pass_through(self, images: torch.Tensor) -> tuple[torch.Tensor, PullBack]:
        """Features in training, and what makes of K gradients of them, `(K, B, C)`, those of all parameters (see `backward`)."""
        with torch.no_grad():
            made = self.forward(images)
            return self.features_of(made), torch.no_grad()(lambda arrives: self.backward(images, made, arrives))

    def features_again(self, images: torch.Tensor) -> torch.Tensor:
        """Features as in training, without gradients and without a trace in BatchNorm's running statistics."""
        with torch.no_grad():
            return self.features_of(self.forward(images, moves=False))

    def features_of(self, made: Sequence[Forward]) -> torch.Tensor:
        """The features `(B, C)`, by what `forward` returned."""
        return made[-1].output.mean((2, 3))

    @abstractmethod
    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Features in evaluation, where BatchNorm goes by its running statistics; without gradients."""

    @abstractmethod
    def forward(self, images: torch.Tensor, moves: bool = True) -> list[Forward]:
        """What each layer made of a mini-batch, by which BatchNorm's running statistics move or not."""

    @abstractmethod
    def backward(self, images: torch.Tensor, made: Sequence[Forward], arrives: torch.Tensor) -> torch.Tensor:
        """The gradients of all parameters, one after another and each in its order in memory: `(K, P)`.

        Args:
            images: of the mini-batch.
            made: what `forward` returned.
            arrives: K gradients of the features, at most `AT_ONCE` of them, `(K, B, C)`.
        """

    def receiving(self, made: Sequence[Forward], count: int) -> Receiving:
        """Memory for so many gradients."""
        vectors = torch.empty(count, self.offsets[-1], dtype=torch.float32, device=self.device)
        gradients = [vectors[:, start:end] for start, end in pairwise(self.offsets)]
        slopes = [
            Slopes(one.statistics.new_empty(count, 2, one.statistics.shape[1]), *of_norm)
            for one, of_norm in zip(made, zip(gradients[1::3], gradients[2::3], strict=True), strict=True)
        ]
        return Receiving(vectors, gradients, slopes)

    def plan(self, batch: int, summed: "Sequence[Summed]") -> torch.Tensor:
        """What `weight_sums.add` does for mini-batches of so many images, whose layers are summed so."""
        from mtlsweep.train.kernels import weight_sums

        if batch not in self._plans:  # once: it is copied from the host, which cannot be recorded
            self._plans[batch] = weight_sums.plan(summed, self.device)
        return self._plans[batch]


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, trunk: Trunk, images: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        made = trunk.forward(images)
        ctx.trunk = trunk
        # The parameters, for torch to see that they are still the same.
        ctx.save_for_backward(images, *(tensor for one in made for tensor in one), *parameters)
        return trunk.features_of(made)

    @staticmethod
    @once
    def backward(ctx: Any, arrives: torch.Tensor) -> Any:
        images, *saved = ctx.saved_tensors
        of_layers = saved[: -len(ctx.trunk.parameters)]
        made = [Forward(*of_layers[start : start + 3]) for start in range(0, len(of_layers), 3)]
        (vector,) = ctx.trunk.backward(images, made, arrives.contiguous()[None])
        return None, None, *parts_of(vector, ctx.trunk.parameters)


def differentiate(
    gradient: torch.Tensor, images: torch.Tensor, weights: torch.Tensor, asked: tuple[bool, bool, bool], stride: int = 1
) -> Any:
    """A 3 x 3 convolution's gradients of images, weights and bias, where asked for, by torch."""
    how = ((stride, stride), (1, 1), (1, 1), False, (0, 0), 1)  # padding, dilation; not transposed, its padding; groups
    return torch.ops.aten.convolution_backward(gradient, images, weights, None, *how, asked)


def from_pool(arrives: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """K gradients of the mean over an output's pixels, `(K, B, C)` -> those of the output, `(K B, C, H, W)`."""
    height, width = output.shape[2:]
    each = (arrives.flatten(0, 1) / (height * width)).to(output.dtype)
    return channels_last(each[:, :, None, None].expand(-1, -1, height, width))


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """The same numbers, lying so."""
    return images.contiguous(memory_format=torch.channels_last)


def parts_in_order(trunk: nn.Module) -> list[nn.Module]:
    """What a trunk executes, one after another; nothing where that is not known."""
    modules = list(trunk) if type(trunk) is nn.Sequential else []  # `children` leaves out what occurs again
    known = all(type(module) in OF_TORCH or not isinstance(module, OF_TORCH) for module in modules)
    return modules if known else []


def once_each(layers: Sequence[Any]) -> None:
    """Raise a TypeError if a convolution or a BatchNorm is that of two layers: its gradient would be of the last one."""
    modules = [id(module) for layer in layers for module in layer[:2]]
    if len({*modules}) < len(modules):
        raise TypeError("a layer occurs more than once")


def plain(norm: nn.BatchNorm2d) -> bool:
    """Whether a BatchNorm is one that the kernels can do."""
    known = type(norm) in (nn.BatchNorm2d, CountedByEpoch)
    return known and norm.affine and norm.running_mean is not None and norm.momentum is not None
