"""A shared trunk with one linear head for the fine and one for the coarse classes."""

import torch
from torch import nn


class TwoHeads(nn.Module):
    """A trunk that ends in a feature vector, and two linear classifiers on it.

    The trunk is kept apart from the heads because gradient strategies combine the two tasks' gradients on the trunk only.

    Args:
        trunk: maps images `(B, 3, 32, 32)` to features `(B, features)`; its convolutions are initialised here.
        features: length of the feature vector.
        num_fine, num_coarse: numbers of classes of the two tasks.
    """

    def __init__(self, trunk: nn.Module, features: int, num_fine: int = 100, num_coarse: int = 20) -> None:
        super().__init__()
        self.trunk = trunk
        self.fine_head = nn.Linear(features, num_fine)
        self.coarse_head = nn.Linear(features, num_coarse)
        trunk.apply(_init_convolution)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images `(B, 3, 32, 32)` -> fine logits `(B, num_fine)`, coarse logits `(B, num_coarse)`."""
        features = self.trunk(images)
        return self.fine_head(features), self.coarse_head(features)


def _init_convolution(module: nn.Module) -> None:
    # The heads keep PyTorch's default: that is part of the recipe the published numbers are compared under.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
