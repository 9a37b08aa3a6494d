"""IMTL-G (Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021; no arXiv number known)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import along_bisector, measure


class IMTLG(GramStrategy):
    """The combination, with weights that sum to 1, whose projections on the two gradients are equally long.

    With n_i = |g_i|: weights `(n2, n1) / (n1 + n2)`; the update is `n1 n2 / (n1 + n2) (u1 + u2)`, u_i the unit gradients. It conflicts with
    neither gradient.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale does not matter to the direction, but the length
    tends to 0 with the shorter gradient, so a fade acts as a smaller learning rate. Same direction as Nash-MTL, FairGrad with alpha 1,
    ConFIG and MGDA on unit gradients. Not the full IMTL, which scales the losses as well (IMTL-L).

    Limits: identical gradients (1/2, 1/2); opposite ones cancel to no update. A zero gradient is no task: the other has weight 1 (the
    formula's own value there is no update at all); two zero gradients have weights 0.

    The authors solve a linear system, here in closed form. LibMTL's is NaN for a zero gradient and singular for parallel ones; TorchJD's
    pseudo-inverse agrees with the above for a zero gradient, not for exactly parallel ones. The authors' own code was not read.
    """

    scale_invariant = True

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        total = pair.norms.sum()
        # Two zero gradients: 0 / 0, but along_bisector ignores it.
        return along_bisector(pair, pair.norms.prod() / total, total).to(gram.dtype)
