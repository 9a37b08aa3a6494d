"""Uncertainty weighting for classification (Kendall, Gal & Cipolla, "Multi-Task Learning Using ...", CVPR 2018, arXiv:1705.07115)."""

import torch

from mtlsweep.losses.uncertainty import Uncertainty, of_present


class UncertaintyClassification(Uncertainty):
    """`e^{-s_f} L_f + s_f / 2 + e^{-s_c} L_c + s_c / 2` with learned log-variances s, from 0.

    At the minimum over s each weight is 1 / (2 L): half of `uncertainty`'s. The benchmark's `uncertainty` has s in place of s / 2.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters until s has followed it. Limits: as of `uncertainty`.
    LibMTL and TorchJD have the form for regression only, `e^{-s} L / 2 + s / 2`.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        half = of_present(self.log_variances, fine_loss, coarse_loss).sum() / 2
        return super().forward(fine_loss, coarse_loss, epoch, total_epochs) - half
