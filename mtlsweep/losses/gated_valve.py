"""EMA-gated coarse valve with a cosine fade (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy


class GatedValve(ScalarStrategy):
    """`(2 - w) L_f + w L_c`, `w = exp(-k max(relu(rho_f - 1), relu(rho_c - 1))) (1 + cos(pi t)) / 2`, rho = L / moving average of L.

    The valve closes when a loss rises above its average. Published best on ResNet-20, ResNet-56 and VGG-16-BN: 68.87, 72.64 and 74.55 %.
    Convention: sum (the weights sum to 2).

    Cost: 1 forward, 1 backward pass. State: the moving averages. The coarse loss's scale matters.

    The entry's code was not at hand: this is its published formula. Not verifiable: the average's start (here the first loss) and
    whether it takes the step's loss in before or after the ratio (here after).

    Args:
        momentum: of the moving averages, in [0, 1); 0.95 as published.
        sharpness: k; 3 as published.

    Raises:
        ValueError: `momentum` is not in [0, 1).
    """

    averages: torch.Tensor

    def __init__(self, momentum: float = 0.95, sharpness: float = 3.0) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        self.momentum = momentum
        self.sharpness = sharpness
        self.register_buffer("averages", torch.full((2,), math.nan))

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return (1 + math.cos(math.pi * epoch / total_epochs)) / 2

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss.detach(), coarse_loss.detach()])
        averages = torch.where(self.averages.isnan(), losses, self.averages)
        excess = torch.relu(losses / (averages + 1e-8) - 1).max()
        self.averages.copy_(self.momentum * averages + (1 - self.momentum) * losses)
        weight = torch.exp(-self.sharpness * excess) * self.current_fade(epoch, total_epochs)
        return (2 - weight) * fine_loss + weight * coarse_loss
