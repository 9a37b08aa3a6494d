"""PCGrad (Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv:2001.06782)."""

import torch

from mtlsweep.losses.base import GramStrategy


class PCGrad(GramStrategy):
    """Where the two trunk gradients conflict, each loses its projection on the other; their sum is the update.

    With A = |g1|^2, C = |g2|^2, B = g1.g2: weights `(1 - B / A, 1 - B / C)` if B < 0, else `(1, 1)`. With two tasks the paper's random
    order of the projections makes no difference. (The benchmark's published PCGrad leaves the coarse head untrained.)
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        # Bounded below by the smallest normal number only so that two zero gradients give (1, 1) and not 0 / 0.
        squares = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
        return 1 - gram[0, 1].clamp_max(0) / squares
