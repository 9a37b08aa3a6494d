"""FairGrad (Ban & Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, arXiv:2402.15638)."""

import math
from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import Pair, along_bisector, measure

# Ten times the interval of the root is cut into 64: as 60 halvings, to float64's precision, in a sixth of the operations.
ROUNDS = 10
PARTS = 64


class FairGrad(GramStrategy):
    """Alpha-fair shares of the decrease of the losses: the w for which `(G w)^alpha = 1 / w`, G the Gram matrix.

    With n_i = |g_i|, c the cosine and p = w1 n1 / (w2 n2) the equations leave one unknown, the root of
    `log p + alpha log((p + c) / (1 + c p)) = (1 - alpha) log(n1 / n2)`; the left side rises from 0 at p = 1, so the root lies between
    log p = 0 and the right side, and is found by a fixed number of divisions of that interval. The update conflicts with neither gradient.

    Cost: 1 forward, 2 backward passes. No state. With alpha = 1 it is Nash-MTL and the coarse loss's scale does not matter; otherwise it
    does: above 1 the shorter gradient gets the larger share of the direction. The update's length is proportional to
    scale^((1 - alpha) / (1 + alpha)) of the gradients.

    Limits: identical gradients have equal weights. Opposite ones: where 1 + c is below the rounding of the Gram matrix it is taken to be
    that rounding. A zero gradient is no task: the other has the weight A^(-alpha / (1 + alpha)) of a single task; two have weights 0.

    The authors' code, LibMTL and TorchJD solve for w with scipy's least squares on the host, within its tolerance and for absolute
    residuals, which are poor for gradients far from length 1. LibMTL scales the heads' gradients by the weights too.

    Args:
        alpha: above 0; the larger, the fairer: the sum at 0 (not available), max-min in the limit. LibMTL's default is 1, which is
            nash_mtl; 2 here, so that the two differ. The paper's own choice was not verified.
    """

    def __init__(self, alpha: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be above 0 and finite, got {alpha}")
        self.alpha = alpha
        self.scale_invariant = alpha == 1

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        power = -2 * self.alpha / (1 + self.alpha)  # of a length, for the weight of a single task
        opening = (1 + pair.cosine).clamp_min(pair.epsilon)
        log_share = self._log_share(pair, opening)
        # The larger of w1 n1 and w2 n2 from its own equation, the other from the ratio: neither loses digits.
        smaller = torch.exp(-log_share.abs())
        base = opening - pair.cosine * (1 - smaller)  # 1 + c smaller
        fine_is_larger = log_share > 0
        alone = (pair.norms * pair.size) ** (1 + power)
        length = torch.where(fine_is_larger, alone[0], alone[1]) * base ** (power / 2)
        lengths = torch.where(fine_is_larger, torch.stack([length, length * smaller]), torch.stack([length * smaller, length]))
        return along_bisector(pair, lengths / pair.size, alone / pair.size).to(gram.dtype)

    def _log_share(self, pair: Pair, opening: torch.Tensor) -> torch.Tensor:
        """Log of `w1 n1 / (w2 n2)`."""
        # (p + c) / (1 + c p) = (1 + m) / (1 - m) with m = (1 - c) / (1 + c) tanh(log(p) / 2).
        ratio = (2 - opening) / opening
        fine, coarse = pair.norms.log()
        target = (1 - self.alpha) * (fine - coarse)
        # Odd on both sides: the root's size is found for the target's, its sign is the target's.
        low, high = torch.zeros_like(target), target.abs()
        fractions = torch.linspace(0, 1, PARTS + 1, dtype=target.dtype, device=target.device)
        for _ in range(ROUNDS):
            points = torch.lerp(low, high, fractions)
            short = points + 2 * self.alpha * torch.atanh((ratio * torch.tanh(points / 2)).clamp_max(1)) < target.abs()
            low, high = torch.where(short, points, low).amax(), torch.where(short, high, points).amin()
        return torch.copysign((low + high) / 2, target)
