"""ConFIG (Liu, Chu & Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks", arXiv:2408.11104)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import along_bisector, measure


class ConFIGGrad(GramStrategy):
    """The direction that has the same cosine with both gradients, as long as the gradients' projections on it together.

    With n_i = |g_i|: weights `(n1 + n2) / 2 (1 / n1, 1 / n2)`; the update is `(n1 + n2) / 2 (u1 + u2)`, u_i the unit gradients. It
    conflicts with neither gradient. Convention: sum (for identical gradients it is their sum), as in TorchJD; LibMTL has none. The momentum
    variant (M-ConFIG) of the paper is not included.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale does not matter to the direction; the length tends
    to half of the fine gradient's. Same direction as IMTL-G, Nash-MTL, FairGrad with alpha 1 and MGDA on unit gradients.

    Limits: identical gradients (1, 1); opposite ones cancel to no update. A zero gradient is no task: the other has weight 1, as in
    TorchJD; two zero gradients have weights 0.

    Authors and TorchJD take a pseudo-inverse of the stacked unit gradients: a singular value decomposition of the size of the trunk.
    """

    scale_invariant = True

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        total = pair.norms.sum()
        return along_bisector(pair, total / 2, total).to(gram.dtype)
