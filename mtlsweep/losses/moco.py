"""MoCo (Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning", ICLR 2023, arXiv:2210.12624)."""

from typing import Any

import torch

from mtlsweep.losses.base import GradientStrategy


class MoCo(GradientStrategy):
    """MGDA on moving averages of the gradients, its weights approached by one step at a time.

    In step k: `y_i <- y_i - b_k (y_i - g_i)`, then `w <- P(w - r_k (Y w + decay w))`, Y the Gram matrix of the averages y_i and P the
    projection on the simplex; the update is `w1 y1 + w2 y2`. `b_k = tracking / k^tracking_power`, `r_k = rate / k^rate_power`. The averages
    start at 0, w at (1/2, 1/2). With two tasks P is a clip. The effective weights are w, which sum to 1; what they weigh are the averages.

    Cost: 1 forward, 2 backward passes. State: w, k, and the two averages, of the length of the trunk's gradients each; about two such more
    for the length of the call. The coarse loss's scale matters, and so does the scale of both: `rate` is relative to the squared length of
    the gradients.

    Limits: identical gradients (1/2, 1/2), and an update that grows from `tracking` times the gradient to the gradient; opposite ones of
    equal length cancel, of others the weight moves to the shorter; two zero gradients: the averages decay, and w with `decay`.

    The authors' first code writes the step with 2 Y, here 2 is in `rate`; its other runs (NYUv2) have tracking 0.99 and no powers. Their
    later code has no powers, decay 0.1, and optional normalised averages. LibMTL replaces the projection by a softmax, which keeps w near
    (1/2, 1/2) however long it runs, and each gradient by its unit vector times its loss. TorchJD has none. The paper's bound on the
    averages' length, and its table of step sizes, were not verified.

    Args:
        tracking: beta, in (0, 1]. 0.1 in the authors' code for LibMTL, 0.5 in LibMTL.
        tracking_power: at least 0. 0.5 in both; 0 is a moving average of constant length.
        rate: gamma, above 0. 0.1 in both, which the authors' code doubles.
        rate_power: at least 0. 0.5 in both.
        decay: rho, at least 0; pulls w to (1/2, 1/2). 0 in both.
    """

    mixture: torch.Tensor
    steps: torch.Tensor
    averages: torch.Tensor | None

    def __init__(
        self,
        tracking: float = 0.1,
        tracking_power: float = 0.5,
        rate: float = 0.1,
        rate_power: float = 0.5,
        decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not (0 < tracking <= 1 and rate > 0):
            raise ValueError(f"tracking must be in (0, 1] and rate above 0, got {tracking} and {rate}")
        if min(tracking_power, rate_power, decay) < 0:
            raise ValueError(f"tracking_power, rate_power and decay must be at least 0, got {tracking_power}, {rate_power} and {decay}")
        self.tracking = tracking
        self.tracking_power = tracking_power
        self.rate = rate
        self.rate_power = rate_power
        self.decay = decay
        self.register_buffer("mixture", torch.full((2,), 0.5, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.float64))
        self.register_buffer("averages", None)

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.steps.add_(1)
        fine, coarse = self._track(fine_grad, coarse_grad)
        squares = torch.stack([average.square().sum(dtype=torch.float64) for average in (fine, coarse)])
        product = (fine * coarse).sum(dtype=torch.float64)
        slope = squares * self.mixture + product * self.mixture.flip(0) + self.decay * self.mixture
        stepped = self.mixture - self.rate * self.steps**-self.rate_power * slope
        # Each weight from its own difference; 1 - w1 would lose the digits of a small w2.
        self.mixture.copy_(((1 + stepped - stepped.flip(0)) / 2).clamp(0, 1))
        weights = self.mixture.to(fine_grad.dtype, copy=True)
        return weights[0] * fine + weights[1] * coarse, weights

    def _track(self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine, coarse = self.vectors("averages", fine_grad)
        share = (self.tracking * self.steps**-self.tracking_power).to(fine_grad.dtype)
        return fine.lerp_(fine_grad, share), coarse.lerp_(coarse_grad, share)
