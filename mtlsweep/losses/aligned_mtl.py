"""Aligned-MTL (Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, arXiv:2305.19000)."""

import torch

from mtlsweep.losses.base import GramStrategy
from mtlsweep.losses.gram import measure


class AlignedMTL(GramStrategy):
    """The gradients are replaced by the nearest orthogonal pair, as long as their least principal component, and summed.

    Weights `sqrt(l) G^(-1/2) (1, 1)`, G the Gram matrix, l its smaller eigenvalue. With A = |g1|^2, C = |g2|^2, B = g1.g2,
    E = sqrt(A C - B^2), T = sqrt(A + C + 2 E): `sqrt(l) / (E T) (C + E - B, A + E - B)`, and `sqrt(l) / E = sqrt(2 / (A + C + R))` with
    `R = sqrt((A - C)^2 + 4 B^2)`. The update's length is sqrt(2 l), and may conflict with the original gradients.

    Convention: sum, as LibMTL; TorchJD has half of it. TorchJD's other scales (`median`, `rmse`) are not included.

    Cost: 1 forward, 2 backward passes. No parameters, no state. The coarse loss's scale matters: where it is small, so is l and the update.

    Limits: as the gradients become parallel, opposite, or one of them zero, l and the update tend to 0. Exactly there the Gram matrix has
    rank 1 and the paper keeps its one component: the plain sum. Rank 1 is where 1 - cosine^2 is below 8 roundings of the Gram matrix.
    The authors' code and TorchJD compare the eigenvalues instead, and so take gradients of very different lengths (1 : 6e7 in float64,
    1 : 3000 in float32) for dependent. LibMTL's does not run on current releases of torch.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        pair = measure(gram)
        sine_square = (1 - pair.cosine) * (1 + pair.cosine)
        area = pair.norms.prod() * sine_square.sqrt()
        spread = torch.hypot(pair.squares[0] - pair.squares[1], 2 * pair.product)
        scale = torch.sqrt(2 / ((1 + spread) * (1 + 2 * area)))
        aligned = scale * (pair.squares.flip(0) + area - pair.product)
        independent = (sine_square > 8 * pair.epsilon) & (pair.norms > 0).all()
        return torch.where(independent, aligned, 1).to(gram.dtype)
