"""Projection of the mean on the dual cone, as in GEM (Lopez-Paz & Ranzato, "Gradient Episodic Memory", NeurIPS 2017, arXiv:1706.08840)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, quotient


class DualProj(GramStrategy):
    """The mean of the gradients, moved no further than it must be in order to conflict with neither of them.

    With A = |g1|^2, C = |g2|^2, B = g1.g2: weights `(max(1, -B / A), max(1, -B / C)) / 2`. Of the two maxima at most one exceeds 1: the
    mean conflicts with the shorter gradient only, and not merely because the gradients conflict with each other.

    Convention: mean, as TorchJD's DualProj; LibMTL has none. GEM itself projects the gradient of a new task off those of memories of
    earlier ones; TorchJD's DualProj projects the mean of all, which is the method meant here.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters.

    Limits: identical gradients (1/2, 1/2); opposite ones cancel to no update; a zero gradient leaves half of the other.

    TorchJD solves a quadratic program on the host, on a Gram matrix to which 1e-4 is added: up to 43 % off where norms are 1 : 1000.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        return (quotient(-pair.product, pair.squares).clamp_min(1) / 2).to(gram.dtype)
