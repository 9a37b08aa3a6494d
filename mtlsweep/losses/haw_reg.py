"""HAW-Reg: HAW with regularised log-variances (an entry to the benchmark cv-multitask-loss of MLS-Bench, arXiv:2605.08678)."""

import torch

from mtlsweep.losses.haw import HAW


class HAWReg(HAW):
    """HAW `+ strength (s_f^2 + s_c^2)`, which keeps the precisions near 1.

    Args:
        beta: exponent of the fade; 2 in the published entry.
        strength: of the penalty; 0.01 in the published entry.
    """

    def __init__(self, beta: float = 2.0, strength: float = 0.01) -> None:
        super().__init__(beta)
        if strength < 0:
            raise ValueError(f"strength must be at least 0, got {strength}")
        self.strength = strength

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return super().forward(fine_loss, coarse_loss, epoch, total_epochs) + self.strength * self.log_variances.square().sum()
