"""GradDrop (Chen et al., "Just Pick a Sign", NeurIPS 2020, arXiv:2010.06808)."""

from typing import Any

import torch

from mtlsweep.losses.base import GradientStrategy
from mtlsweep.losses.gram import quotient


class GradDrop(GradientStrategy):
    """In every coordinate one sign is drawn, and what has the other is dropped from both gradients; the update is the sum of the rest.

    Positive is drawn with probability `P = (1 + (g1 + g2) / (|g1| + |g2|)) / 2`. Of what is dropped a fraction, the leak, is kept. Where
    the signs agree nothing is dropped; where they differ the mean over the draws is g1 + g2 again (equal leaks): the method adds noise,
    and no bias. Convention: sum. The effective weight of a loss is `<kept_i, g_i> / |g_i|^2`, the share of its gradient that is kept.

    Cost: 1 forward, 2 backward passes, P random numbers, about four copies of the trunk's gradients for the length of the call. No state.
    The coarse loss's scale matters.

    Limits: identical gradients: their sum, nothing is dropped. Opposite ones of equal length: one of both in each coordinate, as long as
    either. A zero gradient leaves the other, and its weight is 0. Where both coordinates are 0 nothing is drawn: P is not divided out.

    The paper masks the gradients of an activation, not of parameters: each is multiplied by the activation's sign and summed over the
    mini-batch, and one mask holds for all images. LibMTL does so at the trunk's output; TorchJD masks what gradients it is given, as here.
    The authors' code (Lingvo) adds 1e-7 to the sum of magnitudes, LibMTL too: far below that the draw is fair whatever the gradients. The
    authors' also changes the update's length by default: in one version (ae4d22f) to that of the sum, which is `length=sum` here, in
    another (04e34dd) by the inverse of that factor.

    Args:
        fine_leak, coarse_leak: the fraction of what is dropped that is kept, in [0, 1]. 0 in the paper's "pure" form and in LibMTL, which
            has one leak for all losses. The authors' code advises 1 for a loss that matters more than the others.
    """

    def __init__(self, fine_leak: float = 0.0, coarse_leak: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        if not (0 <= fine_leak <= 1 and 0 <= coarse_leak <= 1):
            raise ValueError(f"fine_leak and coarse_leak must be in [0, 1], got {fine_leak} and {coarse_leak}")
        self.fine_leak = fine_leak
        self.coarse_leak = coarse_leak

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        uniform = torch.rand(fine_grad.shape, generator=self.generator, dtype=fine_grad.dtype, device=fine_grad.device)
        # uniform < P without the division, which is 0 / 0 where both are 0. P = 1 always keeps: uniform is below 1.
        positive = uniform * (fine_grad.abs() + coarse_grad.abs()) < fine_grad.clamp_min(0) + coarse_grad.clamp_min(0)
        fine = torch.where((fine_grad > 0) == positive, fine_grad, self.fine_leak * fine_grad)
        coarse = torch.where((coarse_grad > 0) == positive, coarse_grad, self.coarse_leak * coarse_grad)
        return fine + coarse, torch.stack([_share(fine, fine_grad), _share(coarse, coarse_grad)])


def _share(kept: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    inside, whole = (kept * gradient).sum(dtype=torch.float64), gradient.square().sum(dtype=torch.float64)
    return quotient(inside, whole).to(gradient.dtype)
