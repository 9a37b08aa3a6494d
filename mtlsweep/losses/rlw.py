"""Random loss weighting (Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, arXiv:2111.10603)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class RLW(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = softmax(N(0, I))` drawn anew in each step.

    The weights sum to 1, as in the paper and in LibMTL, so the learning rate is that of `mean`, not of `equal`. Drawn from torch's
    generator, which the engine seeds for every epoch of a run.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        fine_weight, coarse_weight = torch.softmax(torch.randn(2, device=fine_loss.device), dim=0)
        return fine_weight * fine_loss + coarse_weight * coarse_loss
