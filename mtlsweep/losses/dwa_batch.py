"""DWA on mini-batches (the baseline of cv-multitask-loss of Lyu et al., "MLS-Bench", 2026, arXiv:2605.08678)."""

import torch

from mtlsweep.losses.base import ScalarStrategy


class DWABatch(ScalarStrategy):
    """`w_f L_f + w_c L_c`, `w = 2 softmax(r / T)`, r the ratio of each mini-batch loss to the one before. Uniform in epoch 0.

    DWA (Liu, Johns & Davison, CVPR 2019) as the benchmark published it. The ratio of two mini-batches is mostly noise, so the weights stay
    near 1 with small fluctuations. Published: 67.81, 71.97 and 73.90 % on ResNet-20, ResNet-56 and VGG-16-BN. Convention: sum.

    Cost: 1 forward, 1 backward pass. State: the losses of the step before. The coarse loss's scale matters.

    Limits: the ratio is 1 where the loss before was 0.

    Not verifiable: whether the published code compares with the one before (as here) or the two before it.

    Args:
        temperature: T, above 0; 2 as published.

    Raises:
        ValueError: `temperature` is not above 0.
    """

    previous: torch.Tensor

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.register_buffer("previous", torch.ones(2))

    def warm_up(self) -> int:
        """See `Strategy`: `equal`'s."""
        return 1

    def branch(self, epoch: int, total_epochs: int) -> bool:
        """See `Strategy`."""
        return epoch < self.warm_up()

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss.detach(), coarse_loss.detach()])
        # 0 / 0 where a curriculum has faded the coarse loss out: no preference.
        ratios = torch.nan_to_num(losses / self.previous, nan=1.0, posinf=1.0)
        self.previous.copy_(losses)
        if self.branch(epoch, total_epochs):
            return fine_loss + coarse_loss
        fine_weight, coarse_weight = 2 * torch.softmax(ratios / self.temperature, dim=0)
        return fine_weight * fine_loss + coarse_weight * coarse_loss
