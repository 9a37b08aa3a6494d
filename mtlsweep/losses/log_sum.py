"""Sum of the logarithms: the scale-invariant baseline of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class LogSum(ScalarStrategy):
    """`log L_f + log L_c`: weights 1 / L, the fixed point of uncertainty weighting without its lag.

    The gradient does not depend on the losses' scales: a curriculum changes nothing until the coarse loss is exactly 0; from there on
    `log L_f` alone is minimised.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return torch.log(fine_loss) + torch.log(torch.where(coarse_loss == 0, 1.0, coarse_loss))
