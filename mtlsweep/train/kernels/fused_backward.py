"""The gradients of the layers that `fused_forward` makes: of what went into ReLU, and with them BatchNorm's; of the convolution's result.

(Those of the weights are `few_channels`' and `weight_sums`'.) A layer's gradient passes ReLU where the convolution behind it is
differentiated: its sums over pixels are made there, and what is added for a shortcut is, too.

Several gradients of the same mini-batch, K of them, take as many launches as one: they lie one after another, `(K B, C, H, W)`.
"""

import torch
import triton
import triton.language as tl

from mtlsweep.train.kernels.early import BEGINS, wait
from mtlsweep.train.kernels.few_channels import are_pixels, correlated, correlation, empty, tile
from mtlsweep.train.kernels.fused_forward import ELEMENTWISE, Beside, at_once, beside_of, elementwise, sizes
from mtlsweep.train.kernels.last import is_last
from mtlsweep.train.trunk import Forward, Slopes


def enter_from_pool(gradient: torch.Tensor, made: Forward, slopes: Slopes, ticket: torch.Tensor) -> torch.Tensor:
    """The gradients `(K B, O)` of the mean over an output's pixels -> those of what went into ReLU, `(K B, O, H, W)`; their sums in slopes.

    Args:
        gradient, slopes: see above.
        made: by the layer.
        ticket: K int32 zeros; see `fused_forward.convolve`.
    """
    result = empty((len(gradient), *made.raw.shape[1:]), made.raw.dtype, made.raw)
    rows, channels = made.raw.numel() // made.raw.shape[1], made.raw.shape[1]
    block = at_once(channels)
    grid = (triton.cdiv(rows, block), len(slopes.means))
    parts = torch.empty((*grid, 2, channels), dtype=torch.float32, device=gradient.device)
    _enter_from_pool[grid](
        *(gradient, made.output, made.raw, made.statistics, result, parts, ticket, *slopes, slopes.weight.stride(0), rows),
        **sizes(made.raw),
        EVEN=rows % block == 0,
        BLOCK_M=block,
        AT_ONCE=at_once(channels),
        **BEGINS,
    )
    return result


def enter(
    gradient: torch.Tensor, weights: torch.Tensor, stride: int, beside: Beside | None, made: Forward, slopes: Slopes, ticket: torch.Tensor
) -> torch.Tensor:
    """The gradients of the `raw` of the layer behind, `(K B, P, H / stride, W / stride)` -> those of what went into this layer's ReLU.

    Args:
        gradient, weights, stride: of the convolution behind.
        beside: the gradients of what went into the ReLU of the layer that this one's output is added in, and how.
        made: by this layer.
        slopes: receive the sums.
        ticket: as of `enter_from_pool`.
    """
    count = len(slopes.means)
    result = empty((len(gradient), *made.raw.shape[1:]), made.raw.dtype, made.raw)
    call = correlation("input_gradient", gradient, weights, result[: len(made.raw)], stride)
    parts = torch.empty((count, call.grid[0], 2, result.shape[1]), dtype=torch.float32, device=gradient.device)
    given = beside or Beside(gradient, 0, 0)
    _enter[(*call.grid, count)](
        *(*call.tensors, given.images, made.output, made.raw, made.statistics),
        *(parts, ticket, *slopes, slopes.weight.stride(0), call.rows),
        **call.constants,
        **beside_of(given),
        AT_ONCE=at_once(result.shape[1], call.constants["num_warps"]),
        **BEGINS,
    )
    return result


def differentiate(gradient: torch.Tensor, made: Forward, slopes: Slopes) -> torch.Tensor:
    """The gradients of what went into ReLU -> those of `raw`, `(K B, O, H, W)`."""
    result = torch.empty_like(gradient)
    _differentiate[(*elementwise(made.raw), len(slopes.means))](
        *(gradient, made.raw, made.statistics, slopes.means, result, made.raw.numel()),
        C=result.shape[1],
        BLOCK=ELEMENTWISE,
        **BEGINS,
    )
    return result


@triton.jit
def _enter_from_pool(  # type: ignore[no-untyped-def]
    gradient,
    output,
    raw,
    statistics,
    result,
    parts,
    ticket,
    means,
    of_weight,
    of_bias,
    apart,
    rows,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    wait()
    m, n = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, C)
    here = are_pixels(m, rows, EVEN)
    gradient += tl.program_id(1) * (rows // (H * W)) * C
    total = tl.load(gradient + (m // (H * W))[:, None] * C + n[None, :], mask=here[:, None], other=0.0).to(tl.float32) / (H * W)
    _store_and_sum(total, m, here, output, raw, statistics, result, parts, ticket, means, of_weight, of_bias, apart, rows, C, AT_ONCE)


@triton.jit
def _enter(  # type: ignore[no-untyped-def]
    given,
    weights,
    result,
    beside,
    output,
    raw,
    statistics,
    parts,
    ticket,
    means,
    of_weight,
    of_bias,
    apart,
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
    AT_ONCE: tl.constexpr,
) -> None:
    wait()
    m, n = tile(rows, HO, WO, UP, BLOCK_M), tl.arange(0, CO)
    images = tl.program_id(1) * (rows // (HO * WO))
    given += images * (HI * WI * CI)
    here = are_pixels(m, rows, EVEN)
    total = correlated(m, here, given, weights, result, HI, WI, CI, HO, WO, CO, W_IN, W_OUT, W_R, W_S, DOWN, UP, FLIP, BLOCK_M, BLOCK_K)
    if STRIDE > 0:
        across, down, image = m % WO, m // WO % HO, m // (WO * HO)
        seen = here & (across % STRIDE == 0) & (down % STRIDE == 0)
        place = (((images + image) * H_BESIDE + down // STRIDE) * W_BESIDE + across // STRIDE) * C_BESIDE + BEFORE
        total += tl.load(beside + place[:, None] + n[None, :], mask=seen[:, None], other=0.0).to(tl.float32)
    _store_and_sum(total, m, here, output, raw, statistics, result, parts, ticket, means, of_weight, of_bias, apart, rows, CO, AT_ONCE)


@triton.jit
def _store_and_sum(  # type: ignore[no-untyped-def]
    total,
    m,
    here,
    output,
    raw,
    statistics,
    result,
    parts,
    ticket,
    means,
    of_weight,
    of_bias,
    apart,
    rows,
    C: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """Through ReLU; then the sums, over all pixels, of the gradient and of its product with the distance of `raw` from its mean."""
    n, here = tl.arange(0, C), here[:, None]
    which, tiles = tl.program_id(1), tl.num_programs(0)
    places = m[:, None] * C + n[None, :]
    result += which * rows * C
    parts += which * tiles * 2 * C
    total = tl.where(tl.load(output + places, mask=here, other=0.0) <= 0, 0.0, total).to(result.dtype.element_ty)
    tl.store(result + places, total, mask=here)
    value = tl.where(here, total.to(tl.float32), 0.0)
    distance = tl.load(raw + places, mask=here, other=0.0).to(tl.float32) - tl.load(statistics + n)[None, :]
    part = parts + tl.program_id(0) * 2 * C + n
    tl.store(part, tl.sum(value, 0))
    tl.store(part + C, tl.sum(value * distance, 0))
    if is_last(ticket + which):
        slopes_of_parts(parts, n, tiles, rows, which, statistics, means, of_weight, of_bias, apart, C, AT_ONCE)


@triton.jit
def slopes_of_parts(  # type: ignore[no-untyped-def]
    parts,
    n,
    tiles,
    rows,
    which,
    statistics,
    means,
    of_weight,
    of_bias,
    apart,
    C: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """The sums of channels n, of one of the gradients, from the parts of so many tiles."""
    reciprocal = tl.load(statistics + C + n)  # while the parts come
    sums, products = tl.zeros((AT_ONCE, n.shape[0]), dtype=tl.float32), tl.zeros((AT_ONCE, n.shape[0]), dtype=tl.float32)
    for start in range(0, tiles, AT_ONCE):
        t = start + tl.arange(0, AT_ONCE)
        place = parts + t[:, None] * 2 * C + n[None, :]
        sums += tl.load(place, mask=(t < tiles)[:, None], other=0.0, cache_modifier=".cg")
        products += tl.load(place + C, mask=(t < tiles)[:, None], other=0.0, cache_modifier=".cg")
    of_sums, of_products = tl.sum(sums, 0), tl.sum(products, 0)
    tl.store(of_bias + which * apart + n, of_sums)
    tl.store(of_weight + which * apart + n, of_products * reciprocal)
    tl.store(means + which * 2 * C + n, of_sums / rows)
    tl.store(means + which * 2 * C + C + n, of_products * reciprocal * reciprocal / rows)


@triton.jit
def _differentiate(gradient, raw, statistics, means, result, numbers, C: tl.constexpr, BLOCK: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    wait()
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n = e % C
    gradient += tl.program_id(1) * numbers
    means += tl.program_id(1) * 2 * C
    value = tl.load(gradient + e, mask=e < numbers, other=0.0).to(tl.float32) - tl.load(means + n)
    distance = tl.load(raw + e, mask=e < numbers, other=0.0).to(tl.float32) - tl.load(statistics + n)
    value = (value - distance * tl.load(means + C + n)) * tl.load(statistics + 2 * C + n)
    tl.store(result + tl.program_id(1) * numbers + e, value.to(result.dtype.element_ty), mask=e < numbers)
