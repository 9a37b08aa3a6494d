"""BatchNorm in training, a shortcut, ReLU and 2 x 2 max pooling on a processor, a call each forward and backward (norm_relu.cpp).

torch reads and writes a layer's activations about three times as often, one operation after another; what its compiler makes of them keeps
them together, but is bound by how it sums and what it does again for every pixel (benchmarks/README.md).
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mtlsweep.train.host.library import ARRAY, DOUBLE, INT, LONG, call, load
from mtlsweep.train.trunk import Forward

SOURCE = Path(__file__).with_suffix(".cpp")
# Numbers of an array are a multiple of it.
WHOLE = 64
TYPES = {torch.bfloat16: "bf16", torch.float32: "float"}
SIGNATURES = {
    "forward": (LONG, LONG, INT, *4 * (ARRAY,), DOUBLE, DOUBLE, *5 * (ARRAY,)),
    "infer": (LONG, LONG, INT, *7 * (ARRAY,)),
    "backward": (LONG, LONG, INT, LONG, *9 * (ARRAY,), LONG, ARRAY),
    "pool": (*4 * (LONG,), INT, *2 * (ARRAY,)),
    "unpool": (*4 * (LONG,), INT, *3 * (ARRAY,)),
}


def fits(channels: int) -> bool:
    """Whether the kernels can do layers of so many channels."""
    return channels in (16, 32) or (channels > 0 and channels % 64 == 0)


def forward(raw: torch.Tensor, norm: nn.BatchNorm2d, beside: torch.Tensor | None, moves: bool) -> Forward:
    """What becomes of a convolution's result. Its statistics are mean and inverse deviation, `(2, O)`.

    Args:
        raw: `(B, O, H, W)`, channels last.
        norm: BatchNorm of its channels.
        beside: what is added before ReLU, like raw, or nothing.
        moves: whether the running statistics do.
    """
    statistics, output = torch.empty(2, raw.shape[1], dtype=torch.float32), torch.empty_like(raw)
    running = (norm.running_mean, norm.running_var) if moves else (None, None)
    arrays = (raw, norm.weight, norm.bias, beside, norm.eps, norm.momentum, *running, statistics, output)
    call(_function("forward", raw.dtype), *_sizes(raw), *arrays, _scratch(raw, 0))
    return Forward(raw, statistics, output)


def infer(raw: torch.Tensor, norm: nn.BatchNorm2d, beside: torch.Tensor | None) -> torch.Tensor:
    """The same by the running statistics. Arguments as of `forward`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    output, factor = torch.empty_like(raw), norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    call(_function("infer", raw.dtype), *_sizes(raw), raw, norm.running_mean, factor, norm.bias, beside, output, _scratch(raw, 0))
    return output


def backward(
    arrives: torch.Tensor,
    beside: torch.Tensor | None,
    made: Forward,
    norm: nn.BatchNorm2d,
    slopes: tuple[torch.Tensor, torch.Tensor],
    keeps: bool,
) -> torch.Tensor:
    """K gradients of raw.

    Args:
        arrives: K gradients of the output, `(K B, O, H, W)`, channels last. Overwritten: by what went through ReLU if that is kept.
        beside: what is added to them, like them, or nothing.
        made: by `forward`.
        norm: as of `forward`.
        slopes: where the gradients of norm's weight and bias go, `(K, O)`, whose rows may be apart, both as far.
        keeps: whether `arrives` is read again; else the result may lie there.
    """
    raw, statistics, output = made
    result = torch.empty_like(arrives) if keeps else arrives
    count = len(arrives) // len(raw)
    arrays = (raw, output, statistics, norm.weight, arrives, beside, result, *slopes, slopes[0].stride(0))
    call(_function("backward", raw.dtype), *_sizes(raw), count, *arrays, _scratch(raw, count))
    return result


def pool(images: torch.Tensor) -> torch.Tensor:
    """The largest of each 2 x 2 pixels: `(B, O, H, W)` -> `(B, O, H / 2, W / 2)`, channels last."""
    batch, channels, height, width = images.shape
    result = _empty(images, batch, channels, height // 2, width // 2)
    call(_function("pool", images.dtype), *_shape(images), images, result)
    return result


def unpool(gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """K gradients of what `pool` made of images, `(K B, O, H / 2, W / 2)` -> those of the images, `(K B, O, H, W)`."""
    result = _empty(images, len(gradient), *images.shape[1:])
    for given, found in zip(gradient.split(len(images)), result.split(len(images)), strict=True):
        call(_function("unpool", images.dtype), *_shape(images), images, given, found)
    return result


def _empty(like: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)


def _sizes(raw: torch.Tensor) -> tuple[int, int, int]:
    if raw.numel() % WHOLE:
        raise ValueError(f"{raw.numel()} numbers are no multiple of {WHOLE}")
    return raw.numel() // raw.shape[1], raw.shape[1], torch.get_num_threads()


def _shape(images: torch.Tensor) -> tuple[int, int, int, int, int]:
    batch, channels, height, width = images.shape
    if height % 2 or width % 2:
        raise ValueError(f"{height} x {width} pixels are no windows of 2 x 2")
    return batch, height, width, channels, torch.get_num_threads()


def _scratch(raw: torch.Tensor, count: int) -> torch.Tensor:
    return torch.empty(_library().scratch_of(*_sizes(raw)[:2], count), dtype=torch.float32)


@cache
def _function(name: str, precision: torch.dtype) -> Callable[..., None]:
    function: Any = getattr(_library(), f"{name}_{TYPES[precision]}")
    function.argtypes, function.restype = SIGNATURES[name], None
    return function


@cache
def _library() -> ctypes.CDLL:
    library = load(SOURCE)
    library.scratch_of.argtypes, library.scratch_of.restype = 3 * (LONG,), LONG
    return library
