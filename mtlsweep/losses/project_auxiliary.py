"""PCGrad's projection (Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv:2001.06782), on one side only."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, quotient


class ProjectAuxiliary(GramStrategy):
    """Where the gradients conflict, the coarse one loses its projection on the fine one, which stays as it is; their sum is the update.

    With A = |g1|^2, B = g1.g2: weights `(1 - B / A, 1)` if B < 0, else `(1, 1)`. Not symmetric: fine is the main task, with which the
    update never conflicts. Convention: sum. Common practice rather than one paper's method; neither LibMTL nor TorchJD has it.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters to the sum.

    Limits: identical gradients (1, 1); of opposite ones the fine one remains; with a zero gradient, the other.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        excess = quotient(-pair.product.clamp_max(0), pair.squares[0])
        return torch.stack([1 + excess, torch.ones_like(excess)]).to(gram.dtype)
