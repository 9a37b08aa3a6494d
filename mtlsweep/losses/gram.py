"""What the strategies that read the 2 x 2 Gram matrix share: the matrix without its scale, in float64, and division by what may be 0.

Everything stays on the gradients' device, without a branch on a value, so that a step that calls it can be captured in a CUDA graph.
"""

from typing import NamedTuple

import torch


class Pair(NamedTuple):
    """The two trunk gradients measured in `size = sqrt(|g1|^2 + |g2|^2)`, in float64. With both zero: `size = 1`, all else 0.

    `squares` and `norms` are `(2,)`, fine first; the rest are scalars. `cosine` is 0 where a gradient is zero.
    """

    squares: torch.Tensor
    norms: torch.Tensor
    product: torch.Tensor
    cosine: torch.Tensor
    size: torch.Tensor
    epsilon: float  # of the matrix as it was given: what is smaller, relative to 1, is its rounding

    @property
    def gap(self) -> torch.Tensor:
        """`|g1 - g2|^2`."""
        return (self.squares.sum() - 2 * self.product).clamp_min(0)


def measure(gram: torch.Tensor) -> Pair:
    """The gradients' lengths and angle from their Gram matrix.

    Exact to float64's rounding as long as the entries are normal numbers of their own type: in float32, for norms from 1e-18 to 1e18.
    In float64 the products of gradients whose norms are 1e16 apart still neither overflow nor lose digits.
    """
    entries = gram.detach().double()
    total = entries.diagonal().sum()
    total = torch.where(total > 0, total, 1)
    squares = entries.diagonal() / total
    norms = squares.sqrt()
    bound = norms.prod()
    # Rounding may have put the product beyond what the Cauchy-Schwarz inequality allows.
    product = torch.minimum(torch.maximum(entries[0, 1] / total, -bound), bound)
    return Pair(squares, norms, product, quotient(product, bound).clamp(-1, 1), total.sqrt(), torch.finfo(gram.dtype).eps)


def quotient(numerator: torch.Tensor, denominator: torch.Tensor, otherwise: float = 0.0) -> torch.Tensor:
    """`numerator / denominator`, and `otherwise` where the denominator, which is never negative, is 0."""
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1), otherwise)


def along_bisector(pair: Pair, factor: torch.Tensor, alone: torch.Tensor) -> torch.Tensor:
    """`factor (1 / n1, 1 / n2)`: an update along u1 + u2, the bisector of the unit gradients. `factor` and `alone` are in units of `size`.

    A zero gradient has no direction and is no task: its weight is 0 and the other's is `alone / n`, what the strategy gives a single task.
    Two zero gradients have weights 0.
    """
    return quotient(torch.where((pair.norms > 0).all(), factor, alone), pair.norms)


def minimum_norm(pair: Pair, shift: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Weights x and 1 - x, x = ((C - B) - shift) / |g1 - g2|^2 clipped to [0, 1]; identical gradients get 1/2 each.

    With no shift, those of the shortest convex combination of the two gradients.
    """
    fine, coarse = pair.squares
    # Each weight from its own numerator: 1 - x would lose the digits of a small second weight.
    numerators = torch.stack([coarse - pair.product - shift, fine - pair.product + shift])
    return quotient(numerators, pair.gap, otherwise=0.5).clamp(0, 1)


def rescale(gram: torch.Tensor, weights: torch.Tensor, length: str) -> torch.Tensor:
    """Weights `(2,)` in the same ratio, of an update as long as the option says: `own`, `sum` (as g1 + g2) or `fine` (as g1).

    The lengths are the Gram matrix's, so that an update that cancels to its rounding has no direction, and becomes zero.
    """
    if length == "own":
        return weights
    pair = measure(gram)
    parts = weights.double() * pair.norms
    squared = parts.square().sum() + 2 * parts.prod() * pair.cosine
    known = squared > pair.epsilon * parts.abs().sum().square()
    own = torch.where(known, squared, 0).sqrt()
    return (weights.double() * quotient(_target(pair, length), own)).to(weights.dtype)


def length_factor(gram: torch.Tensor, update: torch.Tensor, length: str) -> torch.Tensor:
    """The factor that gives an update `(P,)`, not a sum of the two gradients, the length that the option says; a scalar."""
    if length == "own":
        return torch.ones_like(gram[0, 0])
    pair = measure(gram)
    return quotient(_target(pair, length) * pair.size, update.norm().double()).to(gram.dtype)


def _target(pair: Pair, length: str) -> torch.Tensor:
    """In units of `size`."""
    return (pair.squares.sum() + 2 * pair.product).clamp_min(0).sqrt() if length == "sum" else pair.norms[0]
