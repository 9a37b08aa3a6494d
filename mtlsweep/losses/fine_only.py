"""Fine only: the control that any use of the coarse labels has to beat."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class FineOnly(ScalarStrategy):
    """`L_f`: single-task training. The coarse head is never trained.

    Cost: 1 forward, 1 backward pass. No state, no paper. The coarse loss does not matter at all.
    """

    scale_invariant = True

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return fine_loss
