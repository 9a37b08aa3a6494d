"""PCGrad (Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv:2001.06782)."""

import torch

from mtlsweep.losses.base import GramStrategy


class PCGrad(GramStrategy):
    """Where the two trunk gradients conflict, each loses its projection on the other; their sum is the update.

    With A = |g1|^2, C = |g2|^2, B = g1.g2: weights `(1 - B / A, 1 - B / C)` if B < 0, else `(1, 1)`. With two tasks the paper's random
    order of the projections makes no difference. The update conflicts with neither gradient.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters: it is the plain sum wherever B >= 0.
    Convention: sum, as the paper and the libraries have it; UPGrad is half of it.

    Limits: opposite gradients cancel to no update; a zero gradient leaves the other as it is; two zero ones have weights (1, 1).

    LibMTL adds 1e-8 to A and C: at norms of 1e-6 its update is 44 % off. The benchmark's published PCGrad collects parameters
    from the graph of the fine loss: the fine head is inside the projection and the coarse head is never trained. That is
    `pcgrad_mlsbench`, this class with `scope=fine_path`. But it knows the graph's nodes by Python's `id`, which is given again when
    an object is gone: with torch 2.6, 2.8 and 2.11 it takes the fine head's weight for a node that it has seen, and never trains it
    either; with 2.14 it finds it (`benchmarks/walk.py`, 2026-11-27). That is `pcgrad_mlsbench_walked`, `scope=walked`.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        # Bounded below by the smallest normal number only so that two zero gradients give (1, 1) and not 0 / 0.
        squares = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
        return 1 - gram[0, 1].clamp_max(0) / squares
