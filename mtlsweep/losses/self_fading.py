"""Self-fading coarse loss (this project's own, unpublished: no arXiv number)."""

import math

import torch

from mtlsweep.losses.base import ScalarStrategy

CHANCE = math.log(20)  # the coarse loss of a network that knows nothing of the 20 superclasses


class SelfFading(ScalarStrategy):
    """`L_f + weight (1 - t)^fade c / (power + 1) (L_c / c)^(power + 1)`, c = ln 20, t = epoch / total_epochs.

    So the coarse loss weighs `weight (1 - t)^fade (L_c / c)^power`: as much as is unsolved of it. A network that learns the superclasses
    sooner leaves them sooner, without a moving average or anything learned. `power=0` is a polynomial fade, `fade=0` leaves
    the weight to the loss alone, both 0 are constant weights.

    Rationale, from what was seen before there was a run of it: every published entry above dynamic weight average fades the coarse loss;
    uncertainty weighting does the reverse, it raises the weight of the task that is solved, and is below plain fine training everywhere.
    In the first epochs of ResNet-20 the two gradients rarely conflict (benchmarks/README.md), and a coarse loss that fades brings the fine
    training loss below what training on it alone does, while one that stays is of use for the first half of eight epochs only (results/).
    So the coarse loss helps while it is high. Whether this gives more fine accuracy is what results/README.md says.

    Cost: 1 forward, 1 backward pass. No state. The coarse loss's scale matters, to the power of `power + 1`.

    Args:
        weight: of the coarse loss at chance level and in the first epoch, at least 0.
        power: of the coarse loss in its own weight, at least 0.
        fade: exponent of the fade by epochs, at least 0.

    Raises:
        ValueError: one of them is below 0.
    """

    def __init__(self, weight: float = 1.0, power: float = 1.0, fade: float = 1.0) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("power", power), ("fade", fade)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.weight, self.power, self.fade = weight, power, fade

    def fade_at(self, epoch: int, total_epochs: int) -> float:
        """See `Strategy`; of the power of the coarse loss relative to chance."""
        return self.weight * (1 - epoch / total_epochs) ** self.fade * CHANCE / (self.power + 1)

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return fine_loss + self.current_fade(epoch, total_epochs) * (coarse_loss / CHANCE) ** (self.power + 1)
