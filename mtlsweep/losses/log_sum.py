"""Sum of the logarithms (the baseline SI of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, arXiv:2202.01017)."""

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import logarithms


class LogSum(ScalarStrategy):
    """`log L_f + log L_c`: weights 1 / L, the fixed point of uncertainty weighting without its lag.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale does not matter, not even to the length: a curriculum changes
    nothing before 0.

    Limits: a loss of exactly 0 drops out, and the logarithm of the other is minimised.

    As the `scaleinvls` in FAMO's copy of the authors' code. LibMTL and TorchJD have none.
    """

    scale_invariant = True

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return logarithms(torch.stack([fine_loss, coarse_loss])).sum()
