"""The mean of the losses."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class Mean(ScalarStrategy):
    """`(L_f + L_c) / 2`: equal weighting at half the learning rate, which is what it is here to show.

    Cost: 1 forward, 1 backward pass. No state, no paper. The coarse loss's scale matters. TorchJD's `Mean`.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return (fine_loss + coarse_loss) / 2
