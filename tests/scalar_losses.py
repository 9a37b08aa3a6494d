"""What the tests of scalar strategies share: the effective weights of a step, and losses to walk through."""

from collections.abc import Sequence

import torch

from mtlsweep.losses import ScalarStrategy
from mtlsweep.losses.stch import STCH

FINE, COARSE = 2.5, 1.2


def evaluate(
    strategy: ScalarStrategy, losses: Sequence[float] = (FINE, COARSE), epoch: int = 0, total: int = 10
) -> tuple[float, list[float]]:
    """Value and effective weights."""
    tensors = [torch.tensor(loss, dtype=torch.float64, requires_grad=True) for loss in losses]
    value = strategy.double()(tensors[0], tensors[1], epoch, total)
    value.backward()
    return value.item(), [0.0 if tensor.grad is None else tensor.grad.item() for tensor in tensors]


def warmed_up(*epochs: Sequence[float], mu: float = 1.0) -> STCH:
    strategy = STCH(mu=mu, warmup_epochs=len(epochs) - 1)
    for means in epochs:
        strategy.on_epoch_end(torch.tensor(means))
    return strategy


def losses_around_steps(count: int = 20) -> list[tuple[list[float], list[float]]]:
    """Losses before and after each of some steps: the fine one falls, the coarse one sometimes rises."""
    noise = torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).tolist()
    return [([4 * fine + 0.1, 2 * coarse + 0.1], [3.5 * fine + 0.1, 4 * coarse * change + 0.1]) for fine, coarse, change in noise]
