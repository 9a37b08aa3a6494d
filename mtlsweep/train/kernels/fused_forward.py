"""A 3 x 3 convolution of few channels, its BatchNorm in training, a shortcut and ReLU, in two Triton kernels; `fused_backward` has the
gradients, in three.

The sums over pixels that BatchNorm needs, of the convolution's result and of the gradient that arrives at it, are made where those numbers
are: each program of a convolution writes its part, and the last program to come to its end adds the parts, in the same order whichever it
is. A step of a small network is bound by the number of its operations, and these were half of them (benchmarks/README.md).

Images are channels-last, `(B, C, H, W)`; weights channels-last `(O, C, 3, 3)` in fp32. `raw` is a convolution's result and `output` what
BatchNorm, shortcut and ReLU make of it. Statistics are fp32, `(3, O)`: mean, reciprocal deviation, and that times BatchNorm's weight.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import nn

from mtlsweep.train.kernels.early import BEGINS, wait
from mtlsweep.train.kernels.few_channels import Correlation, are_pixels, correlated, correlation, empty
from mtlsweep.train.kernels.last import is_last

# Numbers that a program of few warps reads at once of the parts.
OF_PARTS, FEW_WARPS = 2048, 4
# Numbers that a program makes of an elementwise result.
ELEMENTWISE = 1024


class Beside(NamedTuple):
    """What is added to an output before ReLU: every `stride`th pixel of an earlier one, from channel `before` on; other channels get 0."""

    images: torch.Tensor
    stride: int
    before: int


def convolve(
    images: torch.Tensor, layer: nn.Conv2d, norm: nn.BatchNorm2d, precision: torch.dtype, ticket: torch.Tensor, moves: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """`raw` in a precision, and its statistics.

    Args:
        images: `(B, C, H, W)`.
        layer, norm: of one layer.
        ticket: an int32 zero of the device's, of which no other launch makes use at the same time.
        moves: whether BatchNorm's running statistics do.
    """
    raw, call = _convolution(images, layer, precision)
    outputs = layer.out_channels
    statistics = torch.empty((3, outputs), dtype=torch.float32, device=images.device)
    parts = torch.empty((call.grid[0], 2, outputs), dtype=torch.float32, device=images.device)
    _convolve[call.grid](
        *(*call.tensors, parts, ticket, norm.weight, norm.running_mean, norm.running_var, statistics),
        *(norm.momentum if moves else 0.0, norm.eps, call.rows),
        **call.constants,
        AT_ONCE=at_once(outputs, call.constants["num_warps"]),
        **BEGINS,
    )
    return raw, statistics


def finish(raw: torch.Tensor, statistics: torch.Tensor, norm: nn.BatchNorm2d, beside: Beside | None) -> torch.Tensor:
    """The output of a layer: normalised, with what is beside it, through ReLU."""
    output = torch.empty_like(raw)
    given = beside or Beside(raw, 0, 0)
    _finish[elementwise(raw)](
        *(raw, statistics, norm.bias, given.images, output, raw.numel()),
        **sizes(raw),
        **beside_of(given),
        BLOCK=ELEMENTWISE,
        **BEGINS,
    )
    return output


def infer(images: torch.Tensor, layer: nn.Conv2d, norm: nn.BatchNorm2d, precision: torch.dtype, beside: Beside | None) -> torch.Tensor:
    """The output of a layer in evaluation, where BatchNorm goes by its running statistics: one kernel."""
    output, call = _convolution(images, layer, precision)
    given = beside or Beside(output, 0, 0)
    _infer[call.grid](
        *(*call.tensors, norm.weight, norm.bias, norm.running_mean, norm.running_var, given.images, norm.eps, call.rows),
        **call.constants,
        **beside_of(given),
        **BEGINS,
    )
    return output


def _convolution(images: torch.Tensor, layer: nn.Conv2d, precision: torch.dtype) -> tuple[torch.Tensor, Correlation]:
    height, width = (-(-size // layer.stride[0]) for size in images.shape[2:])
    result = empty((len(images), layer.out_channels, height, width), precision, images)
    return result, correlation("convolve", images, layer.weight, result, layer.stride[0])


def elementwise(result: torch.Tensor) -> tuple[int]:
    """The programs of a kernel that makes a result number by number."""
    return (triton.cdiv(result.numel(), ELEMENTWISE),)


def at_once(channels: int, warps: int = FEW_WARPS) -> int:
    """How many parts of a sum a program of so many warps reads at once: a launch ends when its last program has read them all."""
    return OF_PARTS * max(1, warps // FEW_WARPS) // channels


def sizes(result: torch.Tensor) -> dict[str, int]:
    """Constants of a kernel."""
    return dict(zip("CHW", result.shape[1:], strict=True))


def beside_of(given: Beside) -> dict[str, int]:
    """Constants of a kernel; a stride of 0: nothing is added."""
    _, channels, height, width = given.images.shape
    return {"C_BESIDE": channels, "H_BESIDE": height, "W_BESIDE": width, "STRIDE": given.stride, "BEFORE": given.before}


@triton.jit
def _convolve(  # type: ignore[no-untyped-def]
    given,
    weights,
    raw,
    parts,
    ticket,
    scale,
    running_mean,
    running_variance,
    statistics,
    momentum,
    eps,
    rows,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    CO: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    DOWN: tl.constexpr,
    UP: tl.constexpr,
    FLIP: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """A part is the mean of a tile's pixels and the sum of their squared distances from it: no difference of two large sums is taken."""
    wait()
    tile = tl.program_id(0)
    m, n = tile * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, CO)
    here = are_pixels(m, rows, EVEN)
    total = correlated(m, here, given, weights, raw, HI, WI, CI, HO, WO, CO, W_IN, W_OUT, W_R, W_S, DOWN, UP, FLIP, BLOCK_M, BLOCK_K)
    total, here = total.to(raw.dtype.element_ty), here[:, None]
    tl.store(raw + m[:, None] * CO + n[None, :], total, mask=here)
    value = tl.where(here, total.to(tl.float32), 0.0)
    mean = tl.sum(value, 0) / tl.minimum(rows - tile * BLOCK_M, BLOCK_M)
    distance = tl.where(here, value - mean[None, :], 0.0)
    tl.store(parts + tile * 2 * CO + n, mean)
    tl.store(parts + tile * 2 * CO + CO + n, tl.sum(distance * distance, 0))
    if is_last(ticket):
        tiles = tl.num_programs(0)
        statistics_of_parts(parts, n, tiles, rows, BLOCK_M, scale, running_mean, running_variance, statistics, momentum, eps, CO, AT_ONCE)


@triton.jit
def statistics_of_parts(  # type: ignore[no-untyped-def]
    parts,
    n,
    tiles,
    rows,
    each,
    scale,
    running_mean,
    running_variance,
    statistics,
    momentum,
    eps,
    C: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """The statistics of channels n, and what they make of the running ones, from the parts of so many tiles of `each` pixels."""
    # What needs not wait for the parts comes while they do.
    factor, old_mean, old_variance = tl.load(scale + n), tl.load(running_mean + n), tl.load(running_variance + n)
    first = tl.load(parts + n, cache_modifier=".cg")
    sums, squares = tl.zeros((AT_ONCE, n.shape[0]), dtype=tl.float32), tl.zeros((AT_ONCE, n.shape[0]), dtype=tl.float32)
    for start in range(0, tiles, AT_ONCE):
        t = start + tl.arange(0, AT_ONCE)
        there = (t < tiles)[:, None]
        place = parts + t[:, None] * 2 * C + n[None, :]
        apart = tl.load(place, mask=there, other=0.0, cache_modifier=".cg") - first[None, :]
        pixels = tl.where(t < tiles, tl.minimum(rows - t * each, each), 0)[:, None].to(tl.float32)
        sums += pixels * apart
        squares += tl.load(place + C, mask=there, other=0.0, cache_modifier=".cg") + pixels * apart * apart
    apart = tl.sum(sums, 0) / rows
    mean = first + apart
    variance = tl.sum(squares, 0) / rows - apart * apart
    reciprocal = 1.0 / tl.sqrt(variance + eps)
    tl.store(statistics + n, mean)
    tl.store(statistics + C + n, reciprocal)
    tl.store(statistics + 2 * C + n, reciprocal * factor)
    tl.store(running_mean + n, old_mean + momentum * (mean - old_mean))
    tl.store(running_variance + n, old_variance + momentum * (variance * rows / (rows - 1) - old_variance))


@triton.jit
def _finish(  # type: ignore[no-untyped-def]
    raw,
    statistics,
    bias,
    beside,
    output,
    numbers,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    C_BESIDE: tl.constexpr,
    H_BESIDE: tl.constexpr,
    W_BESIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    BEFORE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    wait()
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n, p = e % C, e // C
    value = tl.load(raw + e, mask=e < numbers, other=0.0).to(tl.float32)
    value = (value - tl.load(statistics + n)) * tl.load(statistics + 2 * C + n) + tl.load(bias + n)
    if STRIDE > 0:
        value += _beside(beside, p, n, e < numbers, H, W, C_BESIDE, H_BESIDE, W_BESIDE, STRIDE, BEFORE)
    tl.store(output + e, relu(value).to(output.dtype.element_ty), mask=e < numbers)


@triton.jit
def _infer(  # type: ignore[no-untyped-def]
    given,
    weights,
    output,
    scale,
    bias,
    running_mean,
    running_variance,
    beside,
    eps,
    rows,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    CO: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    DOWN: tl.constexpr,
    UP: tl.constexpr,
    FLIP: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    C_BESIDE: tl.constexpr,
    H_BESIDE: tl.constexpr,
    W_BESIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    BEFORE: tl.constexpr,
) -> None:
    wait()
    m, n = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, CO)
    here = are_pixels(m, rows, EVEN)
    total = correlated(m, here, given, weights, output, HI, WI, CI, HO, WO, CO, W_IN, W_OUT, W_R, W_S, DOWN, UP, FLIP, BLOCK_M, BLOCK_K)
    factor = tl.load(scale + n) / tl.sqrt(tl.load(running_variance + n) + eps)
    total = (total - tl.load(running_mean + n)[None, :]) * factor[None, :] + tl.load(bias + n)[None, :]
    here = here[:, None]
    if STRIDE > 0:
        total += _beside(beside, m[:, None], n[None, :], here, HO, WO, C_BESIDE, H_BESIDE, W_BESIDE, STRIDE, BEFORE)
    tl.store(output + m[:, None] * CO + n[None, :], relu(total).to(output.dtype.element_ty), mask=here)


@triton.jit
def _beside(  # type: ignore[no-untyped-def]
    images,
    pixel,
    channel,
    here,
    H: tl.constexpr,
    W: tl.constexpr,
    C_BESIDE: tl.constexpr,
    H_BESIDE: tl.constexpr,
    W_BESIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    BEFORE: tl.constexpr,
) -> tl.tensor:
    """What is added to pixels and channels of an output of H by W."""
    c = channel - BEFORE
    place = ((pixel // (W * H) * H_BESIDE + pixel // W % H * STRIDE) * W_BESIDE + pixel % W * STRIDE) * C_BESIDE + c
    return tl.load(images + place, mask=here & (c >= 0) & (c < C_BESIDE), other=0.0).to(tl.float32)


@triton.jit
def relu(value) -> tl.tensor:  # type: ignore[no-untyped-def]
    """What is no number stays none."""
    return tl.where(value < 0, 0.0, value)
