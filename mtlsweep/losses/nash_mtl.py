"""Nash-MTL (Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, arXiv:2202.01017)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import along_bisector, measure


class NashMTL(GramStrategy):
    """The Nash bargaining solution: the w for which `G w = 1 / w`, G the Gram matrix.

    With n_i = |g_i| and c the gradients' cosine: weights `(1 / n1, 1 / n2) / sqrt(1 + c)`. The update's length is sqrt(2) whatever the
    gradients are, so the learning rate alone decides how far a step goes. It conflicts with neither gradient.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale does not matter to a step: with a fade and
    `heads=weighted` nothing changes until the coarse loss is exactly 0; with `heads=own` the coarse head learns more slowly, and sends
    other gradients into the trunk. Same direction as IMTL-G, FairGrad with alpha 1 (which is identical), ConFIG and MGDA on unit
    gradients.

    Limits: identical gradients: sqrt(2) times their unit vector. Opposite ones have no bisector: where 1 + c is below the rounding of the
    Gram matrix it is taken to be that rounding, which makes exactly opposite gradients cancel. A zero gradient is no task: the other's unit
    vector (length 1) is the update; two zero gradients have weights 0.

    The authors' code, LibMTL and TorchJD approximate the solution by up to 20 convex programs on the host (16 ms a call), start from the
    last step's weights, and clip the update's length to 1 by default, which with two tasks only divides it by sqrt(2); here it is not
    clipped. LibMTL scales the heads' gradients by the weights too.
    """

    scale_invariant = True

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        alone = 1 / pair.size
        return along_bisector(pair, alone / (1 + pair.cosine).clamp_min(pair.epsilon).sqrt(), alone).to(gram.dtype)
