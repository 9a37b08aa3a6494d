"""UPGrad (Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, arXiv:2406.16232)."""

import torch

from mtlsweep.losses.pcgrad import PCGrad


class UPGrad(PCGrad):
    """Each gradient is projected on the cone of directions in which no loss rises; the update is the mean of the projections.

    With two tasks, half of PCGrad: weights `(1 - B / A, 1 - B / C) / 2` if B < 0, else `(1/2, 1/2)`, with A = |g1|^2, C = |g2|^2,
    B = g1.g2. Convention: mean, so a learning rate of half of PCGrad's; TorchJD and LibMTL do the same. The update conflicts with neither
    gradient.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters.

    Limits: identical gradients (1/2, 1/2); opposite ones cancel to no update; a zero gradient leaves half of the other.

    Both libraries solve a quadratic program on the host, on a Gram matrix to which 1e-4 is added: they are up to 43 % off where norms are
    1 : 1000, and stop projecting where the gradients' norms are below 1e-2.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return super().weights(gram, losses, epoch, total_epochs) / 2
