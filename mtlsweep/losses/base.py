"""What a strategy is. The engine calls one of two things; which one, the base class tells.

Both kinds are `nn.Module`s. Their parameters join the network's optimizer, at its learning rate and weight decay, as the benchmark has it;
their buffers and plain attributes are saved in the checkpoint. Optional: `on_epoch_end(mean_losses)` is called after every epoch with the
means of the two losses as the strategy saw them, `(2,)`.

The coarse loss that a strategy sees is already scaled by the curriculum.
"""

import torch
from torch import nn


class ScalarStrategy(nn.Module):
    """Combines the two losses into one: the benchmark's own interface. One forward, one backward pass."""

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        """The scalar to minimise.

        Args:
            fine_loss, coarse_loss: scalar tensors, mean cross-entropies of the mini-batch.
            epoch: 0-indexed.
            total_epochs: length of the run.
        """
        raise NotImplementedError


class GramStrategy(nn.Module):
    """Weighs the two gradients of the trunk by what their Gram matrix says. One forward, two backward passes.

    The trunk receives `w1 g1 + w2 g2`; each head receives the gradient of its own loss, unweighted.
    """

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        """The weights of the fine and the coarse trunk gradient, `(2,)`.

        Args:
            gram: `[[g1.g1, g1.g2], [g1.g2, g2.g2]]` of the fine (1) and coarse (2) gradient, `(2, 2)`, detached.
            losses: fine and coarse loss of the mini-batch, `(2,)`, detached.
            epoch: 0-indexed.
            total_epochs: length of the run.
        """
        raise NotImplementedError
