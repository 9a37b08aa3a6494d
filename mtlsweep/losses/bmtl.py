"""BMTL (Liang & Zhang, "A Simple General Approach to Balance Task Difficulty in Multi-Task Learning", 2020, arXiv:2002.04792)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class BMTL(ScalarStrategy):
    """`T (e^{L_f / T} + e^{L_c / T})`: weights e^{L / T}, so the larger loss counts for more.

    Balanced multi-task learning: a transformation of each loss in place of weights. The factor T in front is not the paper's; it is here
    so that the weights are near 1 and the learning rate keeps its meaning.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale matters.

    LibMTL and TorchJD have none. Not verified: that the paper's transformation is this exponential (its abstract says that larger losses
    receive more attention), and the default temperature.

    Args:
        temperature: T, above 0; the larger, the closer to equal weights.

    Raises:
        ValueError: `temperature` is not above 0.
    """

    def __init__(self, temperature: float = 50.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return self.temperature * (torch.exp(fine_loss / self.temperature) + torch.exp(coarse_loss / self.temperature))
