"""Smooth Tchebycheff scalarisation (Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class STCH(ScalarStrategy):
    """`2 mu log(sum_k exp(log(L_k / nadir_k) / mu))`: a smooth maximum of the losses relative to where they stood after the warm-up.

    Until then `log L_f + log L_c`. The factor 2 and the warm-up are LibMTL's form for deep networks, which also takes the nadir as the mean
    losses of the epoch behind the warm-up. The fine loss alone is minimised once a curriculum has faded the coarse loss to exactly 0.

    Args:
        mu: above 0; 1 in LibMTL. A small mu is nearly a hard maximum.
        warmup_epochs: at least 0; 4 in LibMTL.
    """

    nadir: torch.Tensor
    epochs_seen: torch.Tensor

    def __init__(self, mu: float = 1.0, warmup_epochs: int = 4) -> None:
        super().__init__()
        if mu <= 0 or warmup_epochs < 0:
            raise ValueError(f"mu must be above 0 and warmup_epochs at least 0, got {mu} and {warmup_epochs}")
        self.mu = mu
        self.warmup_epochs = warmup_epochs
        self.register_buffer("nadir", torch.ones(2))
        self.register_buffer("epochs_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        faded = coarse_loss == 0
        logarithms = torch.log(torch.stack([fine_loss, torch.where(faded, 1.0, coarse_loss)]))
        if epoch <= self.warmup_epochs:
            return logarithms.sum()
        smooth_maximum = 2 * self.mu * torch.logsumexp((logarithms - torch.log(self.nadir)) / self.mu, dim=0)
        return torch.where(faded, 2 * logarithms[0], smooth_maximum)

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Keep the means of the epoch behind the warm-up."""
        now = self.epochs_seen == self.warmup_epochs
        self.nadir.copy_(torch.where(now & (mean_losses > 0), mean_losses, self.nadir))
        self.epochs_seen.add_(1)
