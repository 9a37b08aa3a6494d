"""Equal weighting: the plain sum of the losses."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class Equal(ScalarStrategy):
    """`L_f + L_c`. The sum, not the mean: the mean would halve the learning rate beside it.

    Cost: 1 forward, 1 backward pass. No state, no paper. The coarse loss's scale matters. TorchJD's `Sum` and LibMTL's `EW`.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return fine_loss + coarse_loss
