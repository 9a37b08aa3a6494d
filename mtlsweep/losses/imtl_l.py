"""IMTL-L, the loss balance of Impartial Multi-Task Learning (Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021)."""

import torch
from torch import nn

from mtlsweep.losses.base import ScalarStrategy


class IMTLL(ScalarStrategy):
    """`e^{s_f} L_f - s_f + e^{s_c} L_c - s_c` with learned s, from 0.

    Uncertainty weighting with the sign of s turned around: from s = 0, where both start, it trains exactly as `uncertainty` does.
    The paper's gradient balance is `imtl_g`; the two are not combined here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_weights = nn.Parameter(torch.zeros(2))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        fine_weight, coarse_weight = torch.exp(self.log_weights)
        return fine_weight * fine_loss + coarse_weight * coarse_loss - self.log_weights.sum()
