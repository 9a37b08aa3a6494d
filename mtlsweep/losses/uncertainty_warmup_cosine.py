"""Uncertainty, warm-up then cosine-decayed coarse (an entry to cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import torch

from mtlsweep.curriculum import Cosine
from mtlsweep.losses.uncertainty import Uncertainty, of_present


class UncertaintyWarmupCosine(Uncertainty):
    """`e^{-s_f} L_f + s_f + c(t) (e^{-s_c} L_c + s_c)`, c = 1 for t < 0.15, then half a cosine to 0.1.

    Unlike `uncertainty` under `curriculum=warmup_cosine`, c also scales s_c itself, so that the coarse precision does not grow as the loss
    fades. Published best on ResNet-20, ResNet-56 and VGG-16-BN: 68.60, 72.66 and 73.80 %.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters until s has followed it.

    Limits: as of `uncertainty`.

    The entry's code was not at hand: this is its published formula.

    Args:
        warmup: share of the epochs before the fade begins; 0.15 as published.
        floor: c at the end; 0.1 as published.

    Raises:
        ValueError: an argument is out of the range of the curriculum `cosine`.
    """

    def __init__(self, warmup: float = 0.15, floor: float = 0.1) -> None:
        super().__init__()
        self.fade = Cosine(warmup=warmup, floor=floor)

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`."""
        return self.fade(epoch, total_epochs)

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        log_variances = of_present(self.log_variances, fine_loss, coarse_loss)
        fine_precision, coarse_precision = torch.exp(-log_variances)
        fine_term = fine_precision * fine_loss + log_variances[0]
        coarse_term = coarse_precision * coarse_loss + log_variances[1]
        return fine_term + self.current_fade(epoch, total_epochs) * coarse_term
