"""SDMGrad (Xiao, Ban & Ji, "Direction-oriented Multi-objective Learning", NeurIPS 2023, arXiv:2305.18409)."""

from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, minimum_norm


class SDMGrad(GramStrategy):
    """The optimum of SDMGrad's inner problem: MGDA pulled towards the mean gradient g0.

    `(g_x + pull g0) / (1 + pull)`, g_x = x g1 + (1 - x) g2 with x in [0, 1] minimising `|g_x + pull g0|`. With A = |g1|^2, C = |g2|^2,
    B = g1.g2, D = A + C - 2 B: `x = ((C - B) - pull (A - C) / 2) / D`, clipped. A pull of 0 is MGDA, an infinite one the mean. The weights
    sum to 1, as in LibMTL and TorchJD.

    Cost: 1 forward, 2 backward passes. No state. The coarse loss's scale matters.

    Limits: identical gradients (1/2, 1/2); opposite ones: the shorter is outweighed as far as the pull and the clip allow. A zero gradient
    gets all of x: the update is pull / (2 (1 + pull)) of the other, 0.115 by default.

    The paper approaches the optimum by stochastic steps on x, with the Gram matrix of two further independent mini-batches; authors,
    LibMTL and TorchJD do 20 steps of projected SGD (rate 10, in LibMTL 5, momentum 0.5) from the last call's weights. Here one mini-batch
    gives both the Gram matrix and the update, so its noise biases the weights. LibMTL's does not run on current releases of numpy.

    Args:
        pull: lambda of the paper, at least 0. 0.3 in the authors' experiments, LibMTL and TorchJD.
    """

    def __init__(self, pull: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        if not pull >= 0:
            raise ValueError(f"pull must be at least 0, got {pull}")
        self.pull = pull

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        shift = self.pull / 2 * (pair.squares[0] - pair.squares[1])
        return ((minimum_norm(pair, shift) + self.pull / 2) / (1 + self.pull)).to(gram.dtype)
