"""Logarithms of losses, for the strategies that minimise them."""

import torch

# What stands for minus infinity in a softmax or a logsumexp: two infinities have no maximum.
LOWEST = -1e30


def logarithms(losses: torch.Tensor) -> torch.Tensor:
    """`log L` of each loss, `(2,)`; 0 with no gradient for a loss of exactly 0.

    Such a loss has been faded out by a curriculum: there is nothing to learn from it, and the logarithm and its gradient are infinite.
    """
    return torch.log(torch.where(losses == 0, 1.0, losses))
