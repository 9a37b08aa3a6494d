"""MGDA (Sener & Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, arXiv:1810.04650)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, minimum_norm


class MGDA(GramStrategy):
    """The shortest convex combination of the two gradients (Désidéri, Comptes Rendus Mathématique 350, 2012).

    With A = |g1|^2, C = |g2|^2, B = g1.g2, D = A + C - 2 B: weights `(x, 1 - x)`, `x = (C - B) / D` clipped to [0, 1]. The shorter gradient
    gets the larger weight, all of it where its projection on the other is longer than itself. The update conflicts with neither gradient.
    The weights sum to 1, as in all libraries.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters: the smaller, the larger its weight.

    Limits: identical gradients (1/2, 1/2); opposite ones cancel to no update. A zero gradient is the shortest combination, so that there is
    no update: a coarse loss that has been faded to 0 stops the training of the trunk.

    Sener & Koltun's approximation on the gradient of the representation (MGDA-UB) is another algorithm. LibMTL clips the weights to
    [0.001, 0.999], which is wrong by the whole update where norms are 1 : 1000; TorchJD stops its iterations at a precision of 1e-3.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return minimum_norm(measure(gram)).to(gram.dtype)
