"""ExcessMTL (He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, arXiv:2402.02009)."""

from typing import Any

import torch

from mtlsweep.losses.base import GradientStrategy
from mtlsweep.losses.gram import quotient


class ExcessMTL(GradientStrategy):
    """Weights that grow with how far each loss is estimated to be above its own minimum: `w_i <- w_i exp(rate e_i / e_i(first))`.

    `e_i = sum_j g_ij^2 / sqrt(s_ij)` over the coordinates j, s_ij the sum of g_ij^2 over all steps up to this one. The weights start at
    (1, 1) and are scaled to sum to 2 (convention: sum); the update `w1 g1 + w2 g2` has those of its own step. A loss that stays behind
    gains weight step after step, without a bound.

    Cost: 1 forward, 2 backward passes. State: logarithms of the weights, the first e_i, and the roots of s_i, two vectors of the length of
    the trunk's gradients; about two such more for the length of the call. A constant scale of the coarse loss cancels in the weights, not
    in the update.

    Limits: identical gradients (1, 1), and so every first step. A zero gradient has e_i = 0, and its weight falls. While a loss has had
    zero gradients only, it has no first e_i, and the weights stay as they are.

    The authors' code and LibMTL make a third backward pass, through the weighted sum, which scales the heads too (`heads=weighted` here),
    and add 1e-7 to s_ij, which is no longer small where the entries of gradients are below 1e-3. So does TorchJD, whose weights, unlike all
    others', are unequal from the first step on, by e_i itself; with one warm-up step it is as here, at half the length (its weights, as the
    paper's, sum to 1). The paper's first e_i is a mean over three epochs of equal weights, as TorchJD cites its appendix; not verified.

    Args:
        rate: eta, of the weights; above 0. 0.01 in the authors' code and LibMTL, 1 in TorchJD.
    """

    logits: torch.Tensor
    first_risks: torch.Tensor
    roots: torch.Tensor | None

    def __init__(self, rate: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        self.rate = rate
        self.register_buffer("logits", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("first_risks", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("roots", None)

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        risks = self._risks(fine_grad, coarse_grad)
        self.first_risks.copy_(torch.where(self.first_risks > 0, self.first_risks, risks))
        stepped = self.logits + self.rate * quotient(risks, self.first_risks)
        # Less their maximum: what they have in common would cost digits.
        self.logits.copy_(torch.where((self.first_risks > 0).all(), stepped - stepped.max(), self.logits))
        weights = (2 * torch.softmax(self.logits, dim=0)).to(fine_grad.dtype)
        return weights[0] * fine_grad + weights[1] * coarse_grad, weights

    def _risks(self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor) -> torch.Tensor:
        roots = self.vectors("roots", fine_grad)
        return torch.stack([_risk(root, gradient) for root, gradient in zip(roots, (fine_grad, coarse_grad), strict=True)])


def _risk(root: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """e of one loss, in float64; adds the gradient to the root of the sum of squares, whose squares could under- or overflow."""
    root.hypot_(gradient)
    # The smallest normal number instead of 0: 0 / 0 is 0.
    return (gradient / root.clamp_min(torch.finfo(root.dtype).tiny) * gradient).sum(dtype=torch.float64)
