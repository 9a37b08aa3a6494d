"""Cosine gating, hard (Du et al., "Adapting Auxiliary Losses Using Gradient Similarity", 2018, arXiv:1812.02224)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure


class CosineGateHard(GramStrategy):
    """The coarse gradient is an auxiliary one and joins the fine one as far as it points the same way.

    Weights `(1, 1 if c >= 0 else 0)`, c the gradients' cosine: the paper's unweighted version. Not symmetric: fine is the main
    task, with which the update never conflicts. Convention: sum. Neither LibMTL nor TorchJD has it; the authors' code was not read.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters to the sum, not to the gate.

    Limits: identical gradients (1, 1), opposite ones (1, 0). A zero gradient has cosine 0: weights (1, 1).
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        gate = (pair.cosine >= 0).to(pair.cosine.dtype)
        return torch.stack([torch.ones_like(gate), gate]).to(gram.dtype)
