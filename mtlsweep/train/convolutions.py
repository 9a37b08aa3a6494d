"""Layers that are convolved by kernels of our own (`few_channels`), and the operation that they call in place of torch's."""

from typing import Any

import torch
from torch import nn

from mtlsweep.models import TwoHeads
from mtlsweep.train.trunk import channels_last

# Channels (in, out) for which the kernels were the faster ones, of ResNets of 16, 32 and 64 channels; an input of three is an image.
CHANNELS = {(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)}


class FewChannels(nn.Conv2d):
    """A 3 x 3 convolution of few channels. Parameters, their names and their initial values are its parent's."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images `(B, C, H, W)` -> `(B, O, H / stride, W / stride)` in bf16, channels last."""
        return _convolve(images, self.weight, self.stride[0])


def take_over(model: nn.Module) -> int:
    """Have the layers of a model of few channels convolved by our own kernels. Returns their number.

    All of them or none: where other layers are wider, as in VGG, those of 64 channels have the largest images, for which cuDNN is as fast.
    """
    found = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if not all(map(fits, found)):
        return 0
    for layer in found:
        layer.__class__ = FewChannels
    return len(found)


def fits(layer: nn.Conv2d) -> bool:
    """Whether the kernels can do what this layer does, and were the faster ones."""
    return plain(layer) and layer.stride in ((1, 1), (2, 2)) and (layer.in_channels, layer.out_channels) in CHANNELS


def plain(layer: nn.Conv2d) -> bool:
    """Whether a layer is 3 x 3, padded by 1, and has no bias."""
    shape = (layer.kernel_size, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    return type(layer) is nn.Conv2d and shape == ((3, 3), (1, 1), (1, 1), 1, "zeros") and layer.bias is None


def give_back(model: nn.Module) -> None:
    """Have all layers convolved by torch again."""
    for layer in model.modules():
        if type(layer) is FewChannels:
            layer.__class__ = nn.Conv2d  # type: ignore[assignment]


def try_out(model: TwoHeads, images: torch.Tensor) -> None:
    """Compile the kernels of a model's layers, and execute them once. The model is left as it is.

    Args:
        model: taken over, on its device.
        images: some, as the network takes them, `(B, 3, H, W)`.

    Raises:
        Exception: of many types, where there is no Triton, or a kernel does not suit the GPU.
    """
    training = model.training
    model.eval()  # BatchNorm learns nothing
    try:
        features = model.trunk(images)
        trained = [parameter for parameter in model.trunk.parameters() if parameter.requires_grad]
        torch.autograd.grad(features.float().sum(), trained, allow_unused=True)
        if not features.isfinite().all():
            raise RuntimeError("the features of images are not finite")
    finally:
        model.train(training)


@torch.library.custom_op("mtlsweep::convolve", mutates_args=())
def _convolve(images: torch.Tensor, weights: torch.Tensor, stride: int) -> torch.Tensor:
    from mtlsweep.train.kernels import few_channels  # loads Triton

    return few_channels.convolve(channels_last(images), weights, stride, torch.bfloat16)


@torch.library.custom_op("mtlsweep::convolve_input_gradient", mutates_args=())
def _input_gradient(gradient: torch.Tensor, weights: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    from mtlsweep.train.kernels import few_channels

    return few_channels.input_gradient(channels_last(gradient), weights, stride, height, width)


@torch.library.custom_op("mtlsweep::convolve_weight_gradient", mutates_args=())
def _weight_gradient(images: torch.Tensor, gradient: torch.Tensor, weights: torch.Tensor, stride: int) -> torch.Tensor:
    from mtlsweep.train.kernels import few_channels

    return few_channels.weight_gradient(channels_last(images), channels_last(gradient), weights, stride)


@_convolve.register_fake
def _(images: torch.Tensor, weights: torch.Tensor, stride: int) -> torch.Tensor:
    batch, _, height, width = images.shape
    size = (batch, len(weights), -(-height // stride), -(-width // stride))
    return torch.empty(size, dtype=torch.bfloat16, device=images.device, memory_format=torch.channels_last)


@_input_gradient.register_fake
def _(gradient: torch.Tensor, weights: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    size = (len(gradient), weights.shape[1], height, width)
    return torch.empty(size, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)


@_weight_gradient.register_fake
def _(images: torch.Tensor, gradient: torch.Tensor, weights: torch.Tensor, stride: int) -> torch.Tensor:
    return torch.empty_like(weights, dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, int], output: torch.Tensor) -> None:
    images, weights, ctx.stride = inputs
    ctx.save_for_backward(images, weights)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None]:
    images, weights = ctx.saved_tensors
    of_images = None
    if ctx.needs_input_grad[0]:
        of_images = _input_gradient(gradient, weights, ctx.stride, images.shape[2], images.shape[3])
    return of_images, _weight_gradient(images, gradient, weights, ctx.stride), None


_convolve.register_autograd(_backward, setup_context=_keep)
