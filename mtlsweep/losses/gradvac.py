"""GradVac (Wang et al., "Gradient Vaccine", ICLR 2021, arXiv:2010.05874)."""

from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, quotient

# A cosine of 1 cannot be reached by adding a finite multiple of the other gradient.
LARGEST_TARGET = 1 - 1e-6


class GradVac(GramStrategy):
    """Where the gradients' cosine c is below its own moving average rho, each gradient is turned until its cosine with the other is rho.

    To g_i is added `n_i (rho sqrt(1 - c^2) - c sqrt(1 - rho^2)) / (n_j sqrt(1 - rho^2))` of g_j, n_i = |g_i|; their sum is the update.
    Then `rho <- (1 - decay) rho + decay c`. rho starts at 0, so the first step is PCGrad's. Convention: sum, as LibMTL and TorchJD.

    Cost: 1 forward, 2 backward passes. State: rho, one number for the whole trunk (LibMTL's `whole_model`; the paper found a finer
    granularity better, which needs more than one Gram matrix). The coarse loss's scale matters to the sum, not to the turning.

    Limits: identical gradients (1, 1); opposite ones cancel where rho is 0. A zero gradient has no cosine: weights (1, 1), rho is kept.
    A target above 1 - 1e-6 is taken to be that.

    rho is updated at every step, as in TorchJD and, as remembered but not verified, in the paper; LibMTL updates it only at steps that turn
    the gradients, so that it can only fall. Both libraries add 1e-8 to lengths, which matters below 1e-6.

    Args:
        decay: beta, the weight of the new cosine in the average. 0.5 in LibMTL and TorchJD; the paper's is smaller (1e-2, not verified).
    """

    target: torch.Tensor

    def __init__(self, decay: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {decay}")
        self.decay = decay
        self.register_buffer("target", torch.zeros((), dtype=torch.float64))

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        wanted = self.target.clamp(-LARGEST_TARGET, LARGEST_TARGET)
        # Of the angles: sin(angle - wanted angle) / sin(wanted angle).
        turn = wanted * _sine(pair.cosine) / _sine(wanted) - pair.cosine
        both = (pair.norms > 0).all()
        turn = torch.where((pair.cosine < wanted) & both, turn, 0)
        self.target.copy_(torch.where(both, torch.lerp(self.target, pair.cosine, self.decay), self.target))
        return (1 + turn * quotient(pair.norms.flip(0), pair.norms)).to(gram.dtype)


def _sine(cosine: torch.Tensor) -> torch.Tensor:
    return ((1 - cosine) * (1 + cosine)).sqrt()
