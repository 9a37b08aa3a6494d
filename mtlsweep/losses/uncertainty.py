"""Uncertainty weighting (Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to ...", CVPR 2018, arXiv:1705.07115)."""

import torch
from torch import nn

from mtlsweep.losses.base import ScalarStrategy


class Uncertainty(ScalarStrategy):
    """`e^{-s_f} L_f + s_f + e^{-s_c} L_c + s_c` with learned log-variances s, from 0.

    At the minimum over s each weight is 1 / L, so the easier, coarse task weighs more. The weights follow at the learning rate of the
    network, as s is in its optimizer; weight decay pulls them to 1, weakly.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters until s has followed it.

    Limits: a loss of exactly 0 drops out with its s, which weight decay alone then moves: the minimum over s would be at minus infinity.

    This is the benchmark's form. The full title is "... Using Uncertainty to Weigh Losses for Scene Geometry and Semantics"; the paper has
    `s / 2` beside `e^{-s} L` for classification (see `uncertainty_classification`) and halves both terms for regression. TorchJD halves
    both, which is half the learning rate; LibMTL does too and starts s at -0.5.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        log_variances = of_present(self.log_variances, fine_loss, coarse_loss)
        fine_precision, coarse_precision = torch.exp(-log_variances)
        return fine_precision * fine_loss + coarse_precision * coarse_loss + log_variances.sum()


def of_present(learned: torch.Tensor, fine_loss: torch.Tensor, coarse_loss: torch.Tensor) -> torch.Tensor:
    """What is learned of the two losses, `(2,)`; 0 with no gradient for one of exactly 0, which has been faded out by a curriculum."""
    return torch.where(torch.stack([fine_loss, coarse_loss]) == 0, 0.0, learned)
