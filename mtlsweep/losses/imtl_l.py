"""IMTL-L (Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021; no arXiv number known)."""

import torch
from torch import nn

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.uncertainty import of_present


class IMTLL(ScalarStrategy):
    """`e^{s_f} L_f - s_f + e^{s_c} L_c - s_c` with learned s, from 0.

    The loss balance of the paper. It is uncertainty weighting with the sign of s turned around: from s = 0, where both start, it trains
    exactly as `uncertainty` does.

    Cost: 1 forward, 1 backward pass. State: s. The coarse loss's scale matters until s has followed it.

    Limits: a loss of exactly 0 drops out with its s, which weight decay alone then moves.

    As TorchJD. The paper's gradient balance is `imtl_g`; the two are not combined here, while LibMTL's IMTL is both at once. Not verified:
    the paper's base of the exponential and its optimizer for s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_weights = nn.Parameter(torch.zeros(2))

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        log_weights = of_present(self.log_weights, fine_loss, coarse_loss)
        fine_weight, coarse_weight = torch.exp(log_weights)
        return fine_weight * fine_loss + coarse_weight * coarse_loss - log_weights.sum()
