"""GradNorm (Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks", ICML 2018)."""

from typing import Any

import torch
from torch import nn

from mtlsweep.losses.base import GramStrategy


class GradNorm(GramStrategy):
    """Learned weights that make the gradients' lengths follow how much each loss has still to fall (arXiv:1711.02257).

    Weights `w = 2 softmax(logits)`. The logits descend `sum_i |w_i n_i - m r_i^alpha|`, n_i = |g_i|, m the mean of the w_i n_i, r_i the
    ratio of L_i to its first value, divided by the mean of both ratios; `m r_i^alpha` is held constant. Convention: sum (the weights sum
    to 2).

    Cost: 1 forward, 2 backward passes; the logits' gradient is in closed form. State: logits, first losses. The losses' own scale cancels
    in r; the gradients' lengths decide the rest, and the speed: the logits' gradient is proportional to them.

    As LibMTL: softmax form, logits in the network's optimizer at its learning rate and weight decay, first losses the means over the first
    epoch, during which the weights stay (1, 1), and the lengths are of the whole trunk's gradients. The paper renormalises plain weights
    after steps of their own optimizer, takes the last shared layer and the first step's losses or log(classes); TorchJD has none.

    Limits: for zero gradients the logits stay. A loss that was 0 from the start has ratio 1.

    Args:
        alpha: strength of the balance of training rates. 1.5, LibMTL's default and, not verified, the paper's choice for one data set.
    """

    first_losses: torch.Tensor

    def __init__(self, alpha: float = 1.5, **options: Any) -> None:
        super().__init__(**options)
        if not alpha >= 0:
            raise ValueError(f"alpha must be at least 0, got {alpha}")
        self.alpha = alpha
        self.logits = nn.Parameter(torch.zeros(2))
        self.register_buffer("first_losses", torch.full((2,), torch.nan))

    def warm_up(self) -> int:
        """See `Strategy`: `equal`'s."""
        return 1

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        shares = torch.softmax(self.logits.detach(), dim=0)
        norms = gram.diagonal().sqrt()
        lengths = 2 * shares * norms
        ratios = torch.nan_to_num(losses / self.first_losses, nan=1.0, posinf=1.0)
        targets = lengths.mean() * torch.nan_to_num(ratios / ratios.mean(), nan=1.0) ** self.alpha
        by_weight = torch.sign(lengths - targets) * norms
        by_logit = 2 * shares * (by_weight - (shares * by_weight).sum())
        # In the first epoch the first losses are not known.
        self.logits.grad = torch.where(self.first_losses.isnan(), 0, by_logit).to(self.logits.dtype)
        return (2 * shares).to(gram.dtype)

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Keep the means of the first epoch."""
        self.first_losses.copy_(torch.where(self.first_losses.isnan(), mean_losses, self.first_losses))
