"""HAW-Reg (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import torch

from mtlsweep.losses.haw import HAW


class HAWReg(HAW):
    """`haw` + `strength (s_f^2 + s_c^2)`, which keeps the precisions near 1 (HAW with regularised log-variances).

    Published best on ResNet-20, ResNet-56 and VGG-16-BN: 67.10, 71.90 and 72.75 %.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters.

    The entry's code was not at hand: this is its published formula.

    Args:
        beta: exponent of the fade, at least 0; 2 in the published entry.
        strength: of the penalty, at least 0; 0.01 in the published entry.

    Raises:
        ValueError: an argument is below 0.
    """

    def __init__(self, beta: float = 2.0, strength: float = 0.01) -> None:
        super().__init__(beta)
        if strength < 0:
            raise ValueError(f"strength must be at least 0, got {strength}")
        self.strength = strength

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return super().forward(fine_loss, coarse_loss, epoch, total_epochs) + self.strength * self.log_variances.square().sum()
