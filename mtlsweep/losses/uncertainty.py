"""Uncertainty weighting (Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, arXiv:1705.07115)."""

import torch
from torch import nn

from mtlsweep.losses.base import ScalarStrategy


class Uncertainty(ScalarStrategy):
    """`e^{-s_f} L_f + s_f + e^{-s_c} L_c + s_c` with learned log-variances s, from 0.

    This is the benchmark's form. The paper has factors 1/2 for regression, and `s / 2` beside `e^{-s} L` for classification. At the minimum
    over s each weight is 1 / L, so the easier, coarse task weighs more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        fine_precision, coarse_precision = torch.exp(-self.log_variances)
        return fine_precision * fine_loss + coarse_precision * coarse_loss + self.log_variances.sum()
