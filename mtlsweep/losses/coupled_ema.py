"""Coupled coarse, EMA-guided (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy


class CoupledEMA(ScalarStrategy):
    """`L_f + w (1 + coupling L_f / L_f0) L_c`, `w = 0.9 (0.1 + 0.9 (1 - t)^2) g`, `g = (r_f + sqrt(r_f r_c)) / 2`.

    r is each loss's moving average relative to its first value, between 0 and 2. Published best on ResNet-20, ResNet-56 and VGG-16-BN:
    68.96 (another trial 69.11), 72.37 and 74.31 %.

    Cost: 1 forward, 1 backward pass. State: the first losses, the moving averages. The coarse loss's scale matters.

    The entry's code was not at hand: this is its published formula. Not verifiable: whether the coupling's L_f carries a gradient (here
    it does), the average's start (here the first loss), and the eps under the root (here 1e-8).

    Args:
        coupling: 0.25 as published.
        decay: of the moving averages, in [0, 1); 0.9 as published.

    Raises:
        ValueError: `decay` is not in [0, 1).
    """

    first: torch.Tensor
    averages: torch.Tensor

    def __init__(self, coupling: float = 0.25, decay: float = 0.9) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self.coupling = coupling
        self.decay = decay
        self.register_buffer("first", torch.full((2,), math.nan))
        self.register_buffer("averages", torch.full((2,), math.nan))

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return 0.9 * (0.1 + 0.9 * (1 - epoch / total_epochs) ** 2)

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss.detach(), coarse_loss.detach()])
        self.first.copy_(torch.where(self.first.isnan(), losses, self.first))
        averages = torch.where(self.averages.isnan(), losses, self.averages)
        self.averages.copy_(self.decay * averages + (1 - self.decay) * losses)
        relative = torch.nan_to_num(self.averages / self.first, nan=0.0).clamp(0, 2)
        guide = (relative[0] + torch.sqrt(relative.prod() + 1e-8)) / 2
        weight = self.current_fade(epoch, total_epochs) * guide
        return fine_loss + weight * (1 + self.coupling * fine_loss / self.first[0]) * coarse_loss
