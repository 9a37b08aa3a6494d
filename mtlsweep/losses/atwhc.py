"""ATWHC (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import torch
from torch import nn

from mtlsweep.losses.base import ScalarStrategy


class ATWHC(ScalarStrategy):
    """`w_f L_f + (1 - t)^beta w_c L_c`, `w = softmax(logits / temperature)` with learned logits, from 0; t = epoch / total_epochs.

    Learned softmax weights with a coarse fade. Published as a failure, and kept as one: nothing keeps w_f away from 0, so the weights move
    to the faded coarse loss and the fine task stops learning (24.69 % on ResNet-20).

    Cost: 1 forward, 1 backward pass. State: the logits. The coarse loss's scale matters. The weights sum to 1.

    The entry's code was not at hand: this is its published formula.

    Args:
        beta: exponent of the fade, at least 0; 2 in the published entry.
        temperature: of the softmax, above 0; 0.5 in the published entry.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, beta: float = 2.0, temperature: float = 0.5) -> None:
        super().__init__()
        if beta < 0:
            raise ValueError(f"beta must be at least 0, got {beta}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.beta = beta
        self.temperature = temperature
        self.logits = nn.Parameter(torch.zeros(2))

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return (1 - epoch / total_epochs) ** self.beta

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        fine_weight, coarse_weight = torch.softmax(self.logits / self.temperature, dim=0)
        return fine_weight * fine_loss + self.current_fade(epoch, total_epochs) * coarse_weight * coarse_loss
