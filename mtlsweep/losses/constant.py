"""Constant weights: the baseline that any rule for choosing weights has to beat."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class Constant(ScalarStrategy):
    """`fine_weight L_f + coarse_weight L_c`.

    Cost: 1 forward, 1 backward pass. No state, no paper. The coarse loss's scale matters. TorchJD's `Constant`.

    Args:
        fine_weight, coarse_weight: at least 0. The default halves the coarse loss; it is this package's, not a paper's.

    Raises:
        ValueError: a weight is below 0.
    """

    def __init__(self, fine_weight: float = 1.0, coarse_weight: float = 0.5) -> None:
        super().__init__()
        if min(fine_weight, coarse_weight) < 0:
            raise ValueError(f"weights must be at least 0, got {fine_weight} and {coarse_weight}")
        self.fine_weight = fine_weight
        self.coarse_weight = coarse_weight

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return self.fine_weight * fine_loss + self.coarse_weight * coarse_loss
