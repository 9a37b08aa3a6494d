"""STCH (Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, arXiv:2402.19078)."""

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import LOWEST, logarithms


class STCH(ScalarStrategy):
    """`2 mu log(sum_k exp(log(L_k / nadir_k) / mu))`: a smooth maximum of the losses relative to where they stood after the warm-up.

    Smooth Tchebycheff scalarisation. Until the nadir is known, `log L_f + log L_c`.

    Cost: 1 forward, 1 backward pass. State: the nadir, number of epochs seen. A constant factor on the coarse loss cancels; a fade does
    not, because the nadir stays behind, so it is not marked scale-invariant.

    Limits: a loss of exactly 0 drops out: twice the logarithm of the other is minimised. The nadir is 1 where the mean was 0.

    The factor 2, the logarithms and the warm-up are LibMTL's form for deep networks, which also takes the nadir as the mean losses of the
    epoch behind the warm-up. TorchJD's `STCH` is the paper's formula on the losses as they are, with preferences lambda_k of 1/2: on
    `log(L / nadir)`, with preferences 1 and times 2, it is this.

    Args:
        mu: above 0; 1 in LibMTL. A small mu is nearly a hard maximum.
        warmup_epochs: at least 0; 4 in LibMTL.

    Raises:
        ValueError: an argument is out of its range.
    """

    nadir: torch.Tensor
    epochs_seen: torch.Tensor

    def __init__(self, mu: float = 1.0, warmup_epochs: int = 4) -> None:
        super().__init__()
        if not mu > 0 or warmup_epochs < 0:
            raise ValueError(f"mu must be above 0 and warmup_epochs at least 0, got {mu} and {warmup_epochs}")
        self.mu = mu
        self.warmup_epochs = warmup_epochs
        self.register_buffer("nadir", torch.ones(2))
        self.register_buffer("epochs_seen", torch.zeros((), dtype=torch.int64))

    def warm_up(self) -> int:
        """See `Strategy`: `log_sum`'s."""
        return self.warmup_epochs + 1

    def branch(self, epoch: int, total_epochs: int) -> bool:
        """See `Strategy`."""
        return epoch < self.warm_up()

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        if self.branch(epoch, total_epochs):
            return logarithms(losses).sum()
        relative = (logarithms(losses) - torch.log(self.nadir)) / self.mu
        return 2 * self.mu * torch.logsumexp(torch.where(losses == 0, LOWEST, relative), dim=0)

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Keep the means of the epoch behind the warm-up."""
        now = self.epochs_seen == self.warmup_epochs
        self.nadir.copy_(torch.where(now & (mean_losses > 0), mean_losses, self.nadir))
        self.epochs_seen.add_(1)
