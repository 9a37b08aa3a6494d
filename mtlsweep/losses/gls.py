"""Geometric loss strategy (Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy", CVPR-W 2019)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class GLS(ScalarStrategy):
    """`sqrt(L_f L_c)`, the geometric mean: each loss's weight is the mean divided by twice the loss.

    The direction does not depend on the coarse loss's scale: a curriculum only changes the length, until the coarse loss is exactly 0,
    where the mean would be 0 and its gradient infinite; from there on the fine loss alone is minimised.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        # "Where" selects a gradient too, so the branch that is not taken has to be finite.
        faded = coarse_loss == 0
        mean = torch.sqrt(fine_loss * torch.where(faded, 1.0, coarse_loss))
        return torch.where(faded, fine_loss, mean)
