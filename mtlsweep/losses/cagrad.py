"""CAGrad (Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, arXiv:2110.14048)."""

from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import Pair, measure, minimum_norm, quotient


class CAGrad(GramStrategy):
    """Within `radius |g0|` of the mean gradient g0, the direction in which the loss that falls least falls fastest.

    `g0 + (radius |g0| / |g_x|) g_x`, g_x = x g1 + (1 - x) g2 with x in [0, 1] minimising `g_x.g0 + radius |g0| |g_x|`; for two tasks x
    has a closed form. With A = |g1|^2, C = |g2|^2, B = g1.g2, D = A + C - 2 B, s = radius |g0|, h = (A - C) / (2 s): if h^2 >= D, x is 0
    (h > 0) or 1; else `x = (C - B) / D - h sqrt((A C - B^2) / (D^2 (D - h^2)))`, clipped. Radius 0 is the mean.

    Cost: 1 forward, 2 backward passes. No state. The coarse loss's scale matters.

    Convention: mean, as the paper and TorchJD have it. The authors' code and LibMTL divide by 1 + radius^2 by default (their `rescale=1`):
    a factor 1.25 in learning rate for the default radius. The update may conflict with a gradient: only the smallest decrease is maximised.

    Limits: identical gradients: 1 + radius times the mean. Opposite ones: along the longer, shortened by the radius; of equal length, no
    update. With a zero gradient g_x is zero and has no direction: the mean, i.e. half of the other gradient.

    Authors and libraries minimise numerically on the host (scipy or cvxpy); TorchJD returns no update where |J|^2 is below 1e-4; the
    release of LibMTL on PyPI accepts three tasks only.

    Args:
        radius: c of the paper, in [0, 1). LibMTL's default, 0.5.
    """

    def __init__(self, radius: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= radius < 1:
            raise ValueError(f"radius must be in [0, 1), got {radius}")
        self.radius = radius

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        ball = self.radius * (pair.squares.sum() + 2 * pair.product).clamp_min(0).sqrt() / 2
        mixture, length = self._mixture(pair, ball)
        return (0.5 + quotient(ball, length) * mixture).to(gram.dtype)

    def _mixture(self, pair: Pair, ball: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(x, 1 - x)` and |g_x|."""
        area = pair.norms.prod() * ((1 - pair.cosine) * (1 + pair.cosine)).sqrt()  # sqrt(A C - B^2) without its cancellation
        tilt = pair.squares[0] - pair.squares[1]
        # D - h^2, times (2 s)^2 so that a ball of radius 0 divides nothing by 0.
        room = (4 * ball.square() * pair.gap - tilt.square()).clamp_min(0).sqrt()
        at_end = torch.stack([tilt < 0, tilt > 0]).to(tilt.dtype)
        mixture = torch.where((room > 0) | (tilt == 0), minimum_norm(pair, quotient(tilt * area, room)), at_end)
        # |g_x|: added up where nothing cancels; else an end's own, or inside sqrt((A C - B^2) / (D - h^2)).
        added = ((mixture.square() * pair.squares).sum() + 2 * mixture.prod() * pair.product.clamp_min(0)).sqrt()
        inside = (mixture > 0).all() & (pair.product < 0)
        return mixture, torch.where(inside, quotient(2 * ball * area, room), added)
