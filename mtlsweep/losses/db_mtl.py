"""DB-MTL (Lin et al., "Dual-Balancing for Multi-Task Learning", Neural Networks, arXiv:2308.12029 of 2023)."""

from typing import Any

import torch

from mtlsweep.losses.base import GradientStrategy
from mtlsweep.losses.gram import quotient


class DBMTL(GradientStrategy):
    """Moving averages of the gradients of log L_i, each stretched to the length of the longest, summed.

    In step k: `m_i <- b_k m_i + (1 - b_k) g_i / L_i`, `b_k = memory / k^memory_power`, m_i from 0; the update is
    `sum_i (max_j |m_j| / |m_i|) m_i`. Convention: sum. The effective weight of a loss, `(max_j |m_j| / |m_i|) / L_i`, is the one that it
    has once the averages have settled; the first updates are shorter, by `1 - memory` and so on.

    Cost: 1 forward, 2 backward passes. State: k, and the two averages, of the length of the trunk's gradients each; about two such more for
    the length of the call. The coarse loss's scale does not matter to a step, not even a changing one: it cancels in g_i / L_i. (As of
    `nash_mtl`, the coarse head learns more slowly under a fade with `heads=own`, and the trunk sees it.)

    Limits, where the gradients stay: identical gradients: twice the longer of both g_i / L_i; opposite ones cancel, whatever their lengths;
    a zero gradient leaves the other's g_i / L_i. A loss of exactly 0 is no task: its average is emptied, its weight is 0. Else the last
    direction of a coarse loss that a curriculum has faded out would stay in the update at full length.

    The authors' code, LibMTL's, adds 1e-8 to losses and lengths, which matters below about 1e-5. There each head receives the gradient of
    its log L_i; here its loss's own, or with `heads=weighted` that times the effective weight, which for the longest average is the same.
    TorchJD has none. Whether the paper too starts the averages at 0 was not verified.

    Args:
        memory: beta, the weight of the past, in [0, 1). 0.9 in LibMTL.
        memory_power: at least 0, how fast that falls with the steps. 0 in LibMTL, which also offers others.
    """

    scale_invariant = True

    steps: torch.Tensor
    averages: torch.Tensor | None

    def __init__(self, memory: float = 0.9, memory_power: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        if not (0 <= memory < 1 and memory_power >= 0):
            raise ValueError(f"memory must be in [0, 1) and memory_power at least 0, got {memory} and {memory_power}")
        self.memory = memory
        self.memory_power = memory_power
        self.register_buffer("steps", torch.zeros((), dtype=torch.float64))
        self.register_buffer("averages", None)

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.steps.add_(1)
        inverses = quotient(torch.ones_like(losses), losses)
        fine, coarse = self._remember(fine_grad, coarse_grad, inverses.to(fine_grad.dtype))
        lengths = torch.stack([torch.linalg.vector_norm(average, dtype=torch.float64) for average in (fine, coarse)])
        stretch = quotient(lengths.max(), lengths)
        # Where one average has all but vanished these may be beyond its type's range.
        largest = torch.finfo(fine_grad.dtype).max
        factors = stretch.clamp_max(largest).to(fine_grad.dtype)
        weights = (stretch * inverses).clamp_max(largest**0.5).to(fine_grad.dtype)  # which are multiplied by the losses
        return factors[0] * fine + factors[1] * coarse, weights

    def _remember(self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, inverses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine, coarse = self.vectors("averages", fine_grad)
        present = inverses > 0
        news = (1 - self.memory * self.steps**-self.memory_power).to(fine_grad.dtype)
        return (
            fine.lerp_(fine_grad * inverses[0], news).mul_(present[0]),
            coarse.lerp_(coarse_grad * inverses[1], news).mul_(present[1]),
        )
