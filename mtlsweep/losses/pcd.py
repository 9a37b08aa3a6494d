"""PCD ("Not All Objectives Are Born Equal: Priority-Constrained Descent ...", TMLR 2026, arXiv:2606.29521, as TorchJD cites it)."""

from typing import Any

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure, quotient


class PCD(GramStrategy):
    """The direction nearest to the fine gradient in which the coarse loss still falls by a fraction `share` of its own best.

    With a_i = g_i / sqrt(v_i), v_i the bias-corrected moving average of |g_i|^2: along `a1 + mu a2`,
    `mu = max(0, share - a1.a2 / |a2|^2)`, as long as g1. The update never conflicts with the coarse gradient; it may with the fine one.
    Not symmetric: fine is the primary task. The weights have no fixed sum.

    Cost: 1 forward, 2 backward passes. State: the two averages. A constant scale of the coarse loss does not matter, a change of it does
    until the averages have followed.

    Limits: identical gradients: along them; orthogonal ones: along the fine one, with a little of the coarse; opposite ones: along the
    coarse one, as long as the fine one, and no update with share = 0. A zero coarse gradient leaves the fine one, a zero fine one gives no
    update.

    TorchJD adds 1e-8 to v_i, which matters to norms below 1e-3; there is no such constant here. It computes on the host.
    The paper was not read: the formulas are from TorchJD's implementation, and the authors' code (DaraVaram/priority-constrained-descent)
    has the same.

    Args:
        share: tau of the paper, in [0, 1]; 0.02 in TorchJD.
        memory: beta of the paper, the weight of the past in the averages, in [0, 1); 0.999 in TorchJD.
    """

    moments: torch.Tensor

    def __init__(self, share: float = 0.02, memory: float = 0.999, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share}")
        if not 0 <= memory < 1:
            raise ValueError(f"memory must be in [0, 1), got {memory}")
        self.share = share
        self.memory = memory
        # Averages of |g1|^2, |g2|^2 and of 1, by which the first two are divided: the correction of their bias.
        self.register_buffer("moments", torch.zeros(3, dtype=torch.float64))

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        squares = pair.squares * pair.size.square()
        self.moments.lerp_(torch.cat([squares, torch.ones_like(squares[:1])]), 1 - self.memory)
        typical = (self.moments[:2] / self.moments[2]).sqrt()
        fine, coarse = quotient(pair.norms * pair.size, typical)  # |a1|, |a2|
        along = quotient(fine * pair.cosine, coarse)
        mu = (self.share - along).clamp_min(0)
        # |a1 + mu a2|^2: its part across a2, and along a2 the share where that is what mu makes of it.
        bound = fine.square() * (1 - pair.cosine) * (1 + pair.cosine) + (self.share * coarse).square()
        length = torch.where(mu > 0, bound, fine.square()).sqrt()
        # What is left of two vectors that cancel is rounding, and no direction.
        length = torch.where(length > (10 * pair.epsilon) ** 0.5 * (fine + mu * coarse), length, 0)
        weights = torch.stack([torch.ones_like(mu), mu * quotient(typical[0], typical[1])])
        return (weights * quotient(fine, length)).to(gram.dtype)
