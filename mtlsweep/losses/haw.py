"""HAW (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import torch

from mtlsweep.losses.uncertainty import Uncertainty


class HAW(Uncertainty):
    """`e^{-s_f} L_f + (1 - t)^beta e^{-s_c} L_c + s_f + s_c`, t = epoch / total_epochs.

    Equal to `uncertainty` of a coarse loss that is scaled by `(1 - t)^beta`. Published best on ResNet-20: 66.55 %.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters until s has followed it; s follows the fade too, and so
    undoes some of it. Limits: as of `uncertainty`.

    The entry's code was not at hand: this is its published formula.

    Args:
        beta: exponent of the fade, at least 0; 2 in the published entry.

    Raises:
        ValueError: `beta` is below 0.
    """

    def __init__(self, beta: float = 2.0) -> None:
        super().__init__()
        if beta < 0:
            raise ValueError(f"beta must be at least 0, got {beta}")
        self.beta = beta

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return (1 - epoch / total_epochs) ** self.beta

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return super().forward(fine_loss, self.current_fade(epoch, total_epochs) * coarse_loss, epoch, total_epochs)
