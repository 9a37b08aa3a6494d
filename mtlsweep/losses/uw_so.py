"""UW-SO, soft optimal uncertainty weighting (Kirchdorfer et al., "Analytical Uncertainty-Based Loss Weighting", arXiv:2408.07985)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class UWSO(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = softmax(1 / (T L))`, with L taken as a constant in w: the analytical optimum of uncertainty, softened.

    The weights sum to 1. As one loss goes to 0 its weight goes to 1: on this task that is the coarse one.

    Args:
        temperature: T, above 0; tuned for each problem in the paper, so 1 is no recommendation.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        # A loss faded to exactly 0 has no weight worth computing; the smallest normal number keeps 1 / L finite.
        inverse = 1 / losses.detach().clamp_min(1e-30)
        return torch.softmax(inverse / self.temperature, dim=0) @ losses
