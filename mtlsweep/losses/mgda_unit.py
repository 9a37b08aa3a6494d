"""MGDA on unit gradients (Sener & Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, arXiv:1810.04650)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import along_bisector, measure


class MGDAUnit(GramStrategy):
    """The shortest convex combination of the two unit gradients u_i = g_i / n_i: their mean. Weights `(1 / n1, 1 / n2) / 2`.

    The option `l2` of the normalisation in the authors' code and in LibMTL. The update's length, sqrt((1 + cosine) / 2), does not depend
    on the gradients' lengths. The update conflicts with neither gradient.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale does not matter to a step: with a fade and
    `heads=weighted` nothing changes until the coarse loss is exactly 0; with `heads=own` the coarse head learns more slowly, and sends
    other gradients into the trunk. Same direction as IMTL-G, Nash-MTL, FairGrad with alpha 1 and ConFIG.

    Limits: identical gradients give their unit vector; opposite ones cancel to no update. Where one gradient is zero the other's unit
    vector is the update; where both are, the weights are 0. (LibMTL fails on a zero gradient.)
    """

    scale_invariant = True

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        alone = 1 / pair.size
        return along_bisector(pair, alone / 2, alone).to(gram.dtype)
