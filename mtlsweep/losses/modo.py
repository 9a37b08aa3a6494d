"""MoDo (Chen et al., "Three-Way Trade-Off in Multi-Objective Learning", NeurIPS 2023; arXiv:2305.20057, not verified)."""

from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy


class MoDo(GramStrategy):
    """MGDA's weights approached by one small step at a time: `w <- P(w - rate (G w + decay w))`, P the projection on the simplex.

    G is the Gram matrix; w starts at (1/2, 1/2) and always sums to 1. With two tasks the projection is a clip of
    `w1 = (1 + y1 - y2) / 2` to [0, 1], y the argument of P.

    Cost: 1 forward, 2 backward passes. State: w. The coarse loss's scale matters, and unlike in the other strategies so does the scale of
    both: `rate` is relative to the squared length of the gradients.

    Limits: identical gradients (1/2, 1/2) if w was that; opposite ones move the weight to the shorter; two zero gradients: w tends to
    (1/2, 1/2) by `decay`.

    The paper's double sampling takes G from two independent mini-batches, LibMTL the update from a third. Here one mini-batch gives all, so
    G w is a biased estimate: the gradients' noise adds to G's diagonal.

    Args:
        rate: gamma, of the steps of w; above 0. 0.001 in LibMTL, 0.1 in TorchJD.
        decay: rho, at least 0; pulls w to (1/2, 1/2). 0.1 in both.
    """

    mixture: torch.Tensor

    def __init__(self, rate: float = 0.001, decay: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        if not decay >= 0:
            raise ValueError(f"decay must be at least 0, got {decay}")
        self.rate = rate
        self.decay = decay
        self.register_buffer("mixture", torch.full((2,), 0.5, dtype=torch.float64))

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        stepped = self.mixture - self.rate * (gram.double() @ self.mixture + self.decay * self.mixture)
        # Each weight from its own difference; 1 - w1 would lose the digits of a small w2.
        self.mixture.copy_(((1 + stepped - stepped.flip(0)) / 2).clamp(0, 1))
        return self.mixture.to(gram.dtype, copy=True)
