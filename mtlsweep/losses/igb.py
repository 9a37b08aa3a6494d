"""IGB (Dai, Fei & Lu, "Improvable Gap Balancing for Multi-Task Learning", UAI 2023, arXiv:2307.15429), its first algorithm, IGBv1."""

import torch

from mtlsweep.losses.base import ScalarStrategy
from mtlsweep.losses.logarithm import logarithms


class IGB(ScalarStrategy):
    """`w_f log L_f + w_c log L_c`, `w = 2 softmax(L / base)`, base the mean losses of one early epoch; until it has ended `w = (1, 1)`.

    w is held constant; it sums to 2. The task that has improved less since the base epoch weighs more. The effective weights of the losses
    are `w_k / L_k`: the gap weighs what `log_sum` has balanced.

    Cost: 1 forward, 1 backward pass. State: base losses, number of epochs seen. A constant factor on the coarse loss cancels; a fade does
    not, because L / base falls with it, so it is not marked scale-invariant.

    Limits: a loss of exactly 0 drops out; a base loss of 0 makes the ratio 1.

    As in the authors' code. Their second algorithm, IGBv2, chooses the weights by reinforcement learning and is not here. LibMTL and
    TorchJD have none.

    Not verified: the paper's text.

    Args:
        base_epoch: 0-indexed, at least 0. 1, the authors' default.

    Raises:
        ValueError: `base_epoch` is below 0.
    """

    base: torch.Tensor
    epochs_seen: torch.Tensor

    def __init__(self, base_epoch: int = 1) -> None:
        super().__init__()
        if base_epoch < 0:
            raise ValueError(f"base_epoch must be at least 0, got {base_epoch}")
        self.base_epoch = base_epoch
        self.register_buffer("base", torch.full((2,), torch.nan))
        self.register_buffer("epochs_seen", torch.zeros((), dtype=torch.int64))

    def warm_up(self) -> int:
        """See `Strategy`: `log_sum`'s."""
        return self.base_epoch + 1

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        losses = torch.stack([fine_loss, coarse_loss])
        ratios = torch.nan_to_num(losses.detach() / self.base, nan=1.0, posinf=1.0)
        return (2 * torch.softmax(ratios, dim=0) * logarithms(losses)).sum()

    def on_epoch_end(self, mean_losses: torch.Tensor) -> None:
        """Keep the means of the base epoch."""
        self.base.copy_(torch.where(self.epochs_seen == self.base_epoch, mean_losses, self.base))
        self.epochs_seen.add_(1)
