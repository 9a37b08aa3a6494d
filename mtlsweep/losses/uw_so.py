"""UW-SO (Kirchdorfer et al., "Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning", 2024, arXiv:2408.07985)."""

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import LOWEST


class UWSO(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = softmax(1 / (T L))`, with L held constant in w: the analytical optimum of uncertainty, softened.

    Soft optimal uncertainty weighting. The weights sum to 1. The smaller loss weighs more, and all of it as it goes to 0: on this task that
    is the coarse one, and under a fade fine training comes to a halt before the end.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale matters.

    Limits: a loss of exactly 0 drops out, and the other has weight 1: the limit from above would be the opposite.

    LibMTL and TorchJD have none. Not verified: the authors' code, and that they hold L constant in w.

    Args:
        temperature: T, above 0; tuned for each problem in the paper, so 1 is no recommendation.

    Raises:
        ValueError: `temperature` is not above 0.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        now = losses.detach()
        inverses = (1 / (self.temperature * now)).clamp_max(-LOWEST)
        return (torch.softmax(torch.where(now == 0, LOWEST, inverses), dim=0) * losses).sum()
