"""The gradients of the weights of many convolutions, from the parts that each has left, by one Triton kernel."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from mtlsweep.train.kernels.early import BEGINS, wait

BLOCK = 64
AT_ONCE = 16


class Summed(NamedTuple):
    """One layer's parts.

    Attributes:
        number: of the parts.
        size: numbers of one part.
        target: where their sum begins.
    """

    number: int
    size: int
    target: int


def plan(layers: Sequence[Summed], device: torch.device) -> torch.Tensor:
    """What `add` does for layers whose parts lie one after another, `(programs, 5)`: a row for each of its programs."""
    rows, source = [], 0
    for count, size, target in layers:
        rows += [[source + e, count, size, target + e, min(BLOCK, size - e)] for e in range(0, size, BLOCK)]
        source += count * size
    return torch.tensor(rows, dtype=torch.int64, device=device)


def add(parts: torch.Tensor, planned: torch.Tensor, result: torch.Tensor) -> None:
    """Write the sums of the parts of K gradients, `(K, n)`, into `(K, P)`; always in the same order."""
    _add[(len(planned), len(parts))](
        *(parts, planned, result, parts.stride(0), result.stride(0)), PER_PROGRAM=BLOCK, PARTS=AT_ONCE, **BEGINS
    )


@triton.jit
def _add(parts, planned, result, parts_apart, results_apart, PER_PROGRAM: tl.constexpr, PARTS: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    wait()
    parts += tl.program_id(1) * parts_apart
    result += tl.program_id(1) * results_apart
    row = planned + tl.program_id(0) * 5
    source, count, size, target, numbers = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3), tl.load(row + 4)
    e = tl.arange(0, PER_PROGRAM)
    total = tl.zeros((PARTS, PER_PROGRAM), dtype=tl.float32)
    for start in range(0, count, PARTS):
        p = start + tl.arange(0, PARTS)
        there = (p < count)[:, None] & (e < numbers)[None, :]
        total += tl.load(parts + source + p[:, None] * size + e[None, :], mask=there, other=0.0)
    tl.store(result + target + e, tl.sum(total, 0), mask=e < numbers)
