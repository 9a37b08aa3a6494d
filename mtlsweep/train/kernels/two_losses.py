"""Both heads, their mean cross-entropies and all gradients of them, in one Triton kernel forward and one backward.

Features are `(B, F)`; the heads' weights `(N, F)` and biases `(N,)` are fp32, rounded to the features' precision as autocast does, and so
are the logits. Columns of a tile are the classes of the first head, then those of the second.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from mtlsweep.train.kernels.early import BEGINS, wait
from mtlsweep.train.kernels.last import is_last

# Rows of a tile: images, or classes in the gradient of the weights; and features of a tile.
ROWS = 16
FEATURES = 64


class Head(NamedTuple):
    """Parameters of a linear classifier, and labels `(B,)`."""

    weight: torch.Tensor
    bias: torch.Tensor
    labels: torch.Tensor


def losses(features: torch.Tensor, heads: tuple[Head, Head], ticket: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Both losses, how many images the first head classifies correctly, scalars; and `slopes`, each row's derivatives by its logits.

    Args:
        features: a whole number of `FEATURES`.
        heads: fine and coarse.
        ticket: as of `fused_forward.convolve`.
    """
    first, second = heads
    classes = len(first.bias), len(second.bias)
    columns = max(ROWS, triton.next_power_of_2(sum(classes)))
    slopes = torch.empty((len(features), columns), dtype=torch.float32, device=features.device)
    rows = torch.empty((3, len(features)), dtype=torch.float32, device=features.device)
    results = [torch.empty((), dtype=torch.float32, device=features.device) for _ in range(3)]
    _losses[(triton.cdiv(len(features), ROWS),)](
        *(features, *first, *second, slopes, rows, *results, ticket, len(features)),
        F=features.shape[1],
        NUM_FIRST=classes[0],
        NUM_SECOND=classes[1],
        COLUMNS=columns,
        BLOCK_M=ROWS,
        BLOCK_F=FEATURES,
        AT_ONCE=128,
        **BEGINS,
    )
    return (*results, slopes)


def gradients(
    features: torch.Tensor, heads: tuple[Head, Head], slopes: torch.Tensor, arrives: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Of the features, of the first head's weight and bias, of the second's.

    Args:
        features, heads: as of `losses`.
        slopes: that it returned.
        arrives: the gradient of each loss, a scalar.
    """
    first, second = heads
    of_features = torch.empty_like(features)
    of_heads = [torch.empty_like(tensor) for head in heads for tensor in head[:2]]
    tiles = triton.cdiv(len(features), ROWS)
    _gradients[(tiles + slopes.shape[1] // ROWS, features.shape[1] // FEATURES)](
        *(features, first.weight, second.weight, slopes, *arrives, of_features, *of_heads, len(features), tiles),
        F=features.shape[1],
        NUM_FIRST=len(first.bias),
        NUM_SECOND=len(second.bias),
        COLUMNS=slopes.shape[1],
        BLOCK_M=ROWS,
        BLOCK_F=FEATURES,
        AT_ONCE=32,
        **BEGINS,
    )
    return of_features, *of_heads


# Compiled once for all numbers and addresses (see `crop_flip`), so that what is tried out is what trains.
@triton.jit(do_not_specialize=["rows"])
def _losses(  # type: ignore[no-untyped-def]
    features,
    first_weight,
    first_bias,
    first_labels,
    second_weight,
    second_bias,
    second_labels,
    slopes,
    by_row,
    first_loss,
    second_loss,
    correct,
    ticket,
    rows,
    F: tl.constexpr,
    NUM_FIRST: tl.constexpr,
    NUM_SECOND: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_F: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    wait()
    m, n = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, COLUMNS)
    here = m < rows
    logits = tl.zeros((BLOCK_M, COLUMNS), dtype=tl.float32)
    for start in range(0, F, BLOCK_F):
        f = start + tl.arange(0, BLOCK_F)
        x = tl.load(features + m[:, None] * F + f[None, :], mask=here[:, None], other=0.0)
        w = _of_both(first_weight, second_weight, n[None, :] * F + f[:, None], n[None, :], F, NUM_FIRST, NUM_SECOND)
        logits = tl.dot(x, w.to(x.dtype), logits)
    bias = _of_both(first_bias, second_bias, n, n, 1, NUM_FIRST, NUM_SECOND)
    precision = features.dtype.element_ty
    logits = (logits + bias.to(precision).to(tl.float32)[None, :]).to(precision).to(tl.float32)
    first = tl.load(first_labels + m, mask=here, other=0)[:, None]
    second = tl.load(second_labels + m, mask=here, other=0)[:, None] + NUM_FIRST
    in_first, in_second = (n < NUM_FIRST)[None, :], ((n >= NUM_FIRST) & (n < NUM_FIRST + NUM_SECOND))[None, :]
    # Log-softmax over each head's columns.
    largest = tl.max(tl.where(in_first, logits, float("-inf")), 1)[:, None]
    second_largest = tl.max(tl.where(in_second, logits, float("-inf")), 1)[:, None]
    logits -= tl.where(in_first, largest, second_largest)
    powers = tl.where(in_first | in_second, tl.exp(logits), 0.0)
    first_sum, second_sum = tl.sum(tl.where(in_first, powers, 0.0), 1), tl.sum(tl.where(in_second, powers, 0.0), 1)
    right = (n[None, :] == first) | (n[None, :] == second)
    slope = powers / tl.where(in_first, first_sum[:, None], second_sum[:, None]) - tl.where(right, 1.0, 0.0)
    tl.store(slopes + m[:, None] * COLUMNS + n[None, :], slope, mask=here[:, None])
    tl.store(by_row + m, tl.log(first_sum) - tl.sum(tl.where(n[None, :] == first, logits, 0.0), 1), mask=here)
    tl.store(by_row + rows + m, tl.log(second_sum) - tl.sum(tl.where(n[None, :] == second, logits, 0.0), 1), mask=here)
    # The first of the largest, as torch has it; what is no number equals nothing.
    best = tl.min(tl.where(in_first & (logits == 0), n[None, :], COLUMNS), 1)
    tl.store(by_row + 2 * rows + m, tl.where(best[:, None] == first, 1.0, 0.0).reshape(BLOCK_M), mask=here)
    if is_last(ticket):
        sums = tl.zeros((4, AT_ONCE), dtype=tl.float32)
        which = tl.arange(0, 4)
        for start in range(0, rows, AT_ONCE):
            r = start + tl.arange(0, AT_ONCE)
            there = (which < 3)[:, None] & (r < rows)[None, :]
            sums += tl.load(by_row + which[:, None] * rows + r[None, :], mask=there, other=0.0, cache_modifier=".cg")
        total = tl.sum(sums, 1)
        tl.store(first_loss, tl.sum(tl.where(which == 0, total, 0.0), 0) / rows)
        tl.store(second_loss, tl.sum(tl.where(which == 1, total, 0.0), 0) / rows)
        tl.store(correct, tl.sum(tl.where(which == 2, total, 0.0), 0))


@triton.jit(do_not_specialize=["rows", "tiles"], do_not_specialize_on_alignment=["first_arrives", "second_arrives"])
def _gradients(  # type: ignore[no-untyped-def]
    features,
    first_weight,
    second_weight,
    slopes,
    first_arrives,
    second_arrives,
    of_features,
    of_first_weight,
    of_first_bias,
    of_second_weight,
    of_second_bias,
    rows,
    tiles,
    F: tl.constexpr,
    NUM_FIRST: tl.constexpr,
    NUM_SECOND: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_F: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    """The first programs make the gradient of the features, a tile of images each; the others that of the weights, a tile of classes."""
    wait()
    tile = tl.program_id(0)
    if tile < tiles:
        _of_features(
            *(tile, features, first_weight, second_weight, slopes, first_arrives, second_arrives, of_features, rows),
            *(F, NUM_FIRST, NUM_SECOND, COLUMNS, BLOCK_M, BLOCK_F),
        )
    else:
        _of_weights(
            *(tile - tiles, features, slopes, first_arrives, second_arrives),
            *(of_first_weight, of_first_bias, of_second_weight, of_second_bias, rows),
            *(F, NUM_FIRST, NUM_SECOND, COLUMNS, BLOCK_M, BLOCK_F, AT_ONCE),
        )


@triton.jit
def _of_features(  # type: ignore[no-untyped-def]
    tile,
    features,
    first_weight,
    second_weight,
    slopes,
    first_arrives,
    second_arrives,
    result,
    rows,
    F: tl.constexpr,
    NUM_FIRST: tl.constexpr,
    NUM_SECOND: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_F: tl.constexpr,
) -> None:
    m, n = tile * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, COLUMNS)
    f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    precision = features.dtype.element_ty
    d = _of_logits(slopes, m, n, first_arrives, second_arrives, rows, NUM_FIRST, COLUMNS, precision)
    w = _of_both(first_weight, second_weight, n[:, None] * F + f[None, :], n[:, None], F, NUM_FIRST, NUM_SECOND)
    tl.store(result + m[:, None] * F + f[None, :], tl.dot(d, w.to(precision)).to(precision), mask=(m < rows)[:, None])


@triton.jit
def _of_weights(  # type: ignore[no-untyped-def]
    tile,
    features,
    slopes,
    first_arrives,
    second_arrives,
    of_first_weight,
    of_first_bias,
    of_second_weight,
    of_second_bias,
    rows,
    F: tl.constexpr,
    NUM_FIRST: tl.constexpr,
    NUM_SECOND: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_F: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    n, f = tile * BLOCK_M + tl.arange(0, BLOCK_M), tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    of_weight = tl.zeros((BLOCK_M, BLOCK_F), dtype=tl.float32)
    of_bias = tl.zeros((BLOCK_M,), dtype=tl.float32)
    for start in range(0, rows, AT_ONCE):
        m = start + tl.arange(0, AT_ONCE)
        d = _of_logits(slopes, m, n, first_arrives, second_arrives, rows, NUM_FIRST, COLUMNS, features.dtype.element_ty)
        x = tl.load(features + m[:, None] * F + f[None, :], mask=(m < rows)[:, None], other=0.0)
        of_weight = tl.dot(tl.trans(d), x, of_weight)
        of_bias += tl.sum(d.to(tl.float32), 0)
    in_first, c = n < NUM_FIRST, n - NUM_FIRST
    in_second = (c >= 0) & (c < NUM_SECOND)
    tl.store(of_first_weight + n[:, None] * F + f[None, :], of_weight, mask=in_first[:, None])
    tl.store(of_second_weight + c[:, None] * F + f[None, :], of_weight, mask=in_second[:, None])
    if tl.program_id(1) == 0:
        tl.store(of_first_bias + n, of_bias, mask=in_first)
        tl.store(of_second_bias + c, of_bias, mask=in_second)


@triton.jit
def _of_logits(  # type: ignore[no-untyped-def]
    slopes, m, n, first_arrives, second_arrives, rows, NUM_FIRST: tl.constexpr, COLUMNS: tl.constexpr, precision: tl.constexpr
) -> tl.tensor:
    """The gradient of the images' logits, `(images, classes)`."""
    factor = tl.where(n < NUM_FIRST, tl.load(first_arrives), tl.load(second_arrives)) / rows
    slope = tl.load(slopes + m[:, None] * COLUMNS + n[None, :], mask=(m < rows)[:, None], other=0.0)
    return (slope * factor[None, :]).to(precision)


@triton.jit
def _of_both(first, second, place, n, STEP: tl.constexpr, NUM_FIRST: tl.constexpr, NUM_SECOND: tl.constexpr) -> tl.tensor:  # type: ignore[no-untyped-def]
    """What both heads have at places counted from the first's beginning, a class n every STEP; 0 beyond."""
    in_second = (n >= NUM_FIRST) & (n < NUM_FIRST + NUM_SECOND)
    of_first = tl.load(first + place, mask=(n < NUM_FIRST) & (place >= 0), other=0.0)
    return of_first + tl.load(second + place - NUM_FIRST * STEP, mask=in_second & (place >= 0), other=0.0)
