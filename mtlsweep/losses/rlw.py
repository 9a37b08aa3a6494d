"""RLW (Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for ...", TMLR 2022, arXiv:2111.10603)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class RLW(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = softmax(N(0, I))` drawn anew in each step, from `generator`.

    Random loss weighting. The weights sum to 1, so the learning rate is that of `mean`, not of `equal`.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale matters. A CUDA graph can replay it once `generator` is registered
    with the graph.

    As LibMTL, whose default distribution this is of five, and as TorchJD; both draw from torch's own generator. IGB's code multiplies the
    weights by the number of tasks.
    """

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        drawn = torch.randn(2, generator=self.generator, device=fine_loss.device)
        fine_weight, coarse_weight = torch.softmax(drawn, dim=0)
        return fine_weight * fine_loss + coarse_weight * coarse_loss
