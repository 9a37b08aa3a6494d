"""BatchNorm in training, ReLU and, where there is one, a 2 x 2 max pooling, of the result of a convolution that makes no sums itself: two
Triton kernels forward and two backward.

Names and layouts are those of `fused_forward` and `fused_backward`, whose sums over pixels these are; here `output` is what has come out
of the pooling, and which of a window's pixels that was is found again from `raw`. `window` is 1 where nothing is pooled, or 2; of 2, height
and width of `raw` are even. Channels are a multiple of `CHANNELS`.
"""

import torch
import triton
import triton.language as tl
from torch import nn

from mtlsweep.train.kernels.early import BEGINS, wait
from mtlsweep.train.kernels.few_channels import empty
from mtlsweep.train.kernels.fused_backward import slopes_of_parts
from mtlsweep.train.kernels.fused_forward import ELEMENTWISE, at_once, elementwise, relu, sizes, statistics_of_parts
from mtlsweep.train.kernels.last import is_last
from mtlsweep.train.trunk import Forward, Slopes

# A program sums so many channels, and has so many pixels at once, or half as many windows.
CHANNELS, PIXELS, WARPS = 64, 128, 8
# So many programs sum, where there are pixels for them: two for each multiprocessor of an H200, for each adds to what the last has to read.
PROGRAMS = 256


def statistics(raw: torch.Tensor, norm: nn.BatchNorm2d, ticket: torch.Tensor, moves: bool = True) -> torch.Tensor:
    """Those of a convolution's result `(B, O, H, W)`: `(3, O)`. Arguments as of `fused_forward.convolve`, but that
    tickets are as many as `CHANNELS` goes into the channels (and those of `enter` K times as many)."""
    rows, channels = raw.numel() // raw.shape[1], raw.shape[1]
    grid, each = _cut(rows, channels, PIXELS)
    result = torch.empty((3, channels), dtype=torch.float32, device=raw.device)
    parts = torch.empty((grid[0], 2, channels), dtype=torch.float32, device=raw.device)
    _sum[grid](
        *(raw, parts, ticket, norm.weight, norm.running_mean, norm.running_var, result),
        *(norm.momentum if moves else 0.0, norm.eps, rows, each),
        C=channels,
        **_constants(PIXELS),
    )
    return result


def output(raw: torch.Tensor, mean: torch.Tensor, factor: torch.Tensor, bias: torch.Tensor, window: int) -> torch.Tensor:
    """What becomes of `raw`: its distance from the mean times the factor, plus the bias, through ReLU and pooling.

    Args:
        raw: `(B, O, H, W)`.
        mean, factor, bias: `(O,)`.
        window: of the pooling.
    """
    batch, channels, height, width = raw.shape
    result = empty((batch, channels, height // window, width // window), raw.dtype, raw)
    _output[elementwise(result)](
        *(raw, mean, factor, bias, result, result.numel()), **sizes(raw), WINDOW=window, BLOCK=ELEMENTWISE, **BEGINS
    )
    return result


def enter(gradient: torch.Tensor, made: Forward, bias: torch.Tensor, window: int, slopes: Slopes, ticket: torch.Tensor) -> None:
    """Sum K gradients of an output, `(K B, O, H / window, W / window)`, as far as they pass pooling and ReLU, into slopes."""
    raw, channels, count = made.raw, made.raw.shape[1], len(slopes.means)
    rows = gradient.numel() // channels // count
    pixels = PIXELS // window
    grid, each = _cut(rows, channels, pixels)
    parts = torch.empty((count, grid[0], 2, channels), dtype=torch.float32, device=raw.device)
    _enter_window[(*grid, count)](
        *(gradient, raw, made.statistics, bias, parts, ticket, *slopes, slopes.weight.stride(0)),
        *(rows, raw.numel() // channels, each),
        **sizes(raw),
        WINDOW=window,
        **_constants(pixels),
    )


def differentiate(gradient: torch.Tensor, made: Forward, bias: torch.Tensor, window: int, slopes: Slopes) -> torch.Tensor:
    """The same gradients -> those of `raw`, `(K B, O, H, W)`. `slopes`: as `enter` left it."""
    raw, count = made.raw, len(slopes.means)
    result = empty((count * len(raw), *raw.shape[1:]), raw.dtype, raw)
    _differentiate_window[(*elementwise(gradient[: len(raw)]), count)](
        *(gradient, raw, made.statistics, bias, slopes.means, result, gradient.numel() // count),
        **sizes(raw),
        WINDOW=window,
        BLOCK=ELEMENTWISE,
        **BEGINS,
    )
    return result


def _cut(rows: int, channels: int, pixels: int) -> tuple[tuple[int, int], int]:
    """Programs over pixels and over channels, and pixels of a program that has so many at once."""
    blocks = channels // CHANNELS
    each = triton.cdiv(triton.cdiv(rows, max(1, PROGRAMS // blocks)), pixels) * pixels
    return (triton.cdiv(rows, each), blocks), each


def _constants(pixels: int) -> dict[str, int | bool]:
    """Of a kernel that sums."""
    return {"PIXELS": pixels, "CHANNELS": CHANNELS, "AT_ONCE": at_once(CHANNELS, WARPS), "num_warps": WARPS, **BEGINS}


@triton.jit
def _sum(  # type: ignore[no-untyped-def]
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
    each,
    C: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """Distances from a program's first pixel are summed, and their squares: no difference of two large sums is taken."""
    wait()
    tile, n = tl.program_id(0), tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    first = tl.load(raw + tile * each * C + n).to(tl.float32)
    sums, squares = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32), tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for start in range(0, each, PIXELS):
        m = tile * each + start + tl.arange(0, PIXELS)
        here = (m < rows)[:, None]
        value = tl.load(raw + m[:, None] * C + n[None, :], mask=here, other=0.0).to(tl.float32)
        apart = tl.where(here, value - first[None, :], 0.0)
        sums += apart
        squares += apart * apart
    total = tl.sum(sums, 0)
    apart = total / tl.minimum(rows - tile * each, each)
    part = parts + tile * 2 * C + n
    tl.store(part, first + apart)
    tl.store(part + C, tl.sum(squares, 0) - total * apart)
    if is_last(ticket + tl.program_id(1)):
        tiles = tl.num_programs(0)
        statistics_of_parts(parts, n, tiles, rows, each, scale, running_mean, running_variance, statistics, momentum, eps, C, AT_ONCE)


@triton.jit
def _output(  # type: ignore[no-untyped-def]
    raw,
    mean,
    factor,
    bias,
    output,
    numbers,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    wait()
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n, p, here = e % C, e // C, e < numbers
    value, _, _ = _chosen(raw, p, n, here, tl.load(mean + n), tl.load(factor + n), tl.load(bias + n), C, H, W, WINDOW)
    tl.store(output + e, value.to(output.dtype.element_ty), mask=here)


@triton.jit
def _enter_window(  # type: ignore[no-untyped-def]
    gradient,
    raw,
    statistics,
    bias,
    parts,
    ticket,
    means,
    of_weight,
    of_bias,
    apart,
    rows,
    raw_rows,
    each,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    WINDOW: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    wait()
    tile, which, tiles = tl.program_id(0), tl.program_id(2), tl.num_programs(0)
    n = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mean, factor, added = tl.load(statistics + n)[None, :], tl.load(statistics + 2 * C + n)[None, :], tl.load(bias + n)[None, :]
    gradient += which * rows * C
    parts += which * tiles * 2 * C
    sums, products = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32), tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for start in range(0, each, PIXELS):
        m = (tile * each + start + tl.arange(0, PIXELS))[:, None]
        here = m < rows
        arrives = tl.load(gradient + m * C + n[None, :], mask=here, other=0.0).to(tl.float32)
        value, distance, _ = _chosen(raw, m, n[None, :], here, mean, factor, added, C, H, W, WINDOW)
        passes = tl.where(value <= 0, 0.0, arrives)
        sums += passes
        products += passes * distance
    part = parts + tile * 2 * C + n
    tl.store(part, tl.sum(sums, 0))
    tl.store(part + C, tl.sum(products, 0))
    if is_last(ticket + which * tl.num_programs(1) + tl.program_id(1)):
        slopes_of_parts(parts, n, tiles, raw_rows, which, statistics, means, of_weight, of_bias, apart, C, AT_ONCE)


@triton.jit
def _differentiate_window(  # type: ignore[no-untyped-def]
    gradient,
    raw,
    statistics,
    bias,
    means,
    result,
    numbers,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    wait()
    e, which = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    n, p, here = e % C, e // C, e < numbers
    gradient += which * numbers
    means += which * 2 * C
    result += which * numbers * WINDOW * WINDOW
    mean, factor = tl.load(statistics + n), tl.load(statistics + 2 * C + n)
    of_mean, of_distance = tl.load(means + n), tl.load(means + C + n)
    arrives = tl.load(gradient + e, mask=here, other=0.0).to(tl.float32)
    value, _, chosen = _chosen(raw, p, n, here, mean, factor, tl.load(bias + n), C, H, W, WINDOW)
    arrives = tl.where(value <= 0, 0.0, arrives)
    for one in tl.static_range(WINDOW * WINDOW):
        place = _pixel(p, one, H, W, WINDOW) * C + n
        distance = tl.load(raw + place, mask=here, other=0.0).to(tl.float32) - mean
        passes = tl.where(chosen == one, arrives, 0.0)
        found = (passes - of_mean - distance * of_distance) * factor
        tl.store(result + place, found.to(result.dtype.element_ty), mask=here)


@triton.jit
def _chosen(  # type: ignore[no-untyped-def]
    raw,
    p,
    n,
    here,
    mean,
    factor,
    bias,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    WINDOW: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Pixels p and channels n of an output; how far the `raw` that each is made of is from the mean, and where in its window that lies: of
    several alike the first, as in torch."""
    distance, value = _passed(raw, _pixel(p, 0, H, W, WINDOW) * C + n, here, mean, factor, bias)
    chosen = tl.zeros(value.shape, dtype=tl.int32)
    for one in tl.static_range(1, WINDOW * WINDOW):
        other, of_other = _passed(raw, _pixel(p, one, H, W, WINDOW) * C + n, here, mean, factor, bias)
        larger = (of_other > value) | (of_other != of_other)
        distance, value, chosen = tl.where(larger, other, distance), tl.where(larger, of_other, value), tl.where(larger, one, chosen)
    return value, distance, chosen


@triton.jit
def _passed(raw, place, here, mean, factor, bias) -> tuple[tl.tensor, tl.tensor]:  # type: ignore[no-untyped-def]
    """How far what lies in places of `raw` is from the mean, and what ReLU makes of it, rounded as torch's is before a pool compares it."""
    distance = tl.load(raw + place, mask=here, other=0.0).to(tl.float32) - mean
    return distance, relu(distance * factor + bias).to(raw.dtype.element_ty).to(tl.float32)


@triton.jit
def _pixel(p, one, H: tl.constexpr, W: tl.constexpr, WINDOW: tl.constexpr) -> tl.tensor:  # type: ignore[no-untyped-def]
    """Where in images of H by W one pixel of the window lies that becomes pixel p."""
    if WINDOW == 1:
        return p
    across, down, image = p % (W // WINDOW), p // (W // WINDOW) % (H // WINDOW), p // ((W // WINDOW) * (H // WINDOW))
    return (image * H + down * WINDOW + one // WINDOW) * W + across * WINDOW + one % WINDOW
