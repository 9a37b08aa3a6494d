"""GLS (Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy ...", CVPRW 2019, arXiv:1904.08492)."""

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import logarithms


class GLS(ScalarStrategy):
    """`sqrt(L_f L_c)`, the geometric mean (geometric loss strategy): each loss's weight is the mean divided by twice the loss.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale does not matter to the direction, which is `log_sum`'s: a curriculum
    only changes the length, by the root of its factor.

    Limits: where a loss is exactly 0 the mean would be 0 and its gradient infinite; there the other loss alone is minimised, with weight 1.

    The value is LibMTL's and TorchJD's, whose gradients are not finite at 0. Not verified: the paper's focused variant, which takes some
    tasks' losses twice; it is not here.
    """

    scale_invariant = True

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        # By the logarithms: the product of two small losses underflows.
        return torch.where((losses == 0).any(), losses.sum(), torch.exp(logarithms(losses).sum() / 2))
