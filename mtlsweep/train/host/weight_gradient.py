"""The gradient of a convolution's weights on a processor that multiplies bf16 numbers, for few channels (weight_gradient.cpp)."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import nn

from mtlsweep.train import processor
from mtlsweep.train.host.library import ARRAY, INT, LONG, call, load

SOURCE = Path(__file__).with_suffix(".cpp")
# Channels of images and of results. With more of them the sums of one thread are more than its cache holds.
CHANNELS = (16, 32, 64)


def can(layer: nn.Conv2d, images: torch.Tensor) -> bool:
    """Whether the kernel can do a 3 x 3 convolution that is padded by 1, of these images, and is faster than torch's."""
    few = layer.in_channels in CHANNELS and layer.out_channels in CHANNELS
    height, width = images.shape[2:]
    whole = height % layer.stride[0] == 0 and width % (2 * layer.stride[0]) == 0
    return images.dtype == torch.bfloat16 and few and whole and fast()


@cache
def fast() -> bool:
    """Whether this processor has the instruction, and none of whole matrices, by which torch is faster."""
    return "amx_bf16" not in processor.instructions() and bool(_library().has_instruction())


def weight_gradient(layer: nn.Conv2d, images: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor) -> None:
    """Sums of fp32, not rounded.

    Args:
        layer: one that it can do.
        images: `(B, C, H, W)`, bf16, channels last.
        gradient: K of what came out, `(K B, O, H / stride, W / stride)`, likewise.
        result: `(K, O 3 3 C)`, fp32, in channels last's order; rows may be apart.
    """
    batch, inputs = images.shape[:2]
    outputs, height, width = gradient.shape[1:]
    threads, count = torch.get_num_threads(), len(gradient) // batch
    scratch = torch.empty(threads * count * result.shape[1], dtype=torch.float32)
    sizes = (batch, height, width, inputs, outputs, layer.stride[0], threads, count)
    call(_library().weight_gradient, *sizes, images, gradient, result, result.stride(0), scratch)


@cache
def _library() -> ctypes.CDLL:
    library = load(SOURCE)
    library.weight_gradient.argtypes = (*6 * (LONG,), INT, LONG, *3 * (ARRAY,), LONG, ARRAY)
    library.weight_gradient.restype = None
    return library
