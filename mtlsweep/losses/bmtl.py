"""Balanced multi-task learning (Liang & Zhang, "A Simple General Approach to Balance Task Difficulty", 2020, arXiv:2002.04792)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class BMTL(ScalarStrategy):
    """`T (e^{L_f / T} + e^{L_c / T})`: weights e^{L / T}, so the larger loss counts for more.

    The paper minimises the sum without the factor T in front; it is here so that the weights are near 1 and the learning rate keeps its
    meaning. Not verified against the paper's text: the default temperature.

    Args:
        temperature: T, above 0.
    """

    def __init__(self, temperature: float = 50.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return self.temperature * (torch.exp(fine_loss / self.temperature) + torch.exp(coarse_loss / self.temperature))
