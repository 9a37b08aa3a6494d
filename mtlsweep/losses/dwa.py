"""DWA (Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, arXiv:1803.10704)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy


class DWA(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = 2 softmax(r / T)`, r the ratio of each loss's mean over the last epoch to that over the one before.

    Dynamic weight average: the loss that falls more slowly weighs more. Uniform in the first two epochs, which have no ratio yet; then the
    weights stay within some percent of 1. Convention: sum (the weights sum to 2).

    Cost: 1 forward, 1 backward pass. State: the means of the last epoch, the ratios. The coarse loss's scale matters; a fade also lowers
    the ratio of the coarse loss.

    Limits: the ratio is 1 where an epoch's mean is 0.

    As LibMTL and TorchJD. The benchmark's published DWA compares consecutive mini-batches instead (`dwa_batch`); Nash-MTL's and FAMO's
    code compares windows of 25 steps.

    Args:
        temperature: T, above 0; the larger, the closer to equal weights. 2 in the paper.

    Raises:
        ValueError: `temperature` is not above 0.
    """

    last_means: torch.Tensor
    ratios: torch.Tensor

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.register_buffer("last_means", torch.full((2,), math.nan))
        self.register_buffer("ratios", torch.ones(2))

    def warm_up(self) -> int:
        """See `Strategy`: `equal`'s."""
        return 2

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        fine_weight, coarse_weight = 2 * torch.softmax(self.ratios / self.temperature, dim=0)
        return fine_weight * fine_loss + coarse_weight * coarse_loss

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Keep the epoch's means and compare them with the last epoch's."""
        # NaN before the first epoch, and 0 / 0 where a curriculum has faded the coarse loss out: no ratio, so no preference.
        self.ratios.copy_(torch.nan_to_num(mean_losses / self.last_means, nan=1.0, posinf=1.0))
        self.last_means.copy_(mean_losses)
