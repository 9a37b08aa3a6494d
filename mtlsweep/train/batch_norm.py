"""BatchNorm whose count of mini-batches is kept by the epoch: of a step it would be an operation of its own in every layer."""

import torch
from torch import nn
from torch.nn.functional import batch_norm


class CountedByEpoch(nn.BatchNorm2d):
    """torch's, but that `num_batches_tracked` stays as it is: nothing that this layer computes depends on it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)`, normalised."""
        uses = not self.training or self.track_running_stats
        mean, variance = (self.running_mean, self.running_var) if uses else (None, None)
        by_batch = self.training or self.running_mean is None
        assert self.momentum is not None
        return batch_norm(images, mean, variance, self.weight, self.bias, by_batch, self.momentum, self.eps)


def count_by_epoch(model: nn.Module) -> None:
    """Have a model's layers leave the counting to `count`: those whose running statistics are no averages over all mini-batches."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d and layer.momentum is not None and layer.num_batches_tracked is not None:
            layer.__class__ = CountedByEpoch


def count(model: nn.Module, batches: int) -> None:
    """So many mini-batches have gone through a model in training."""
    layers = [layer for layer in model.modules() if isinstance(layer, CountedByEpoch)]
    counts = [layer.num_batches_tracked for layer in layers if layer.num_batches_tracked is not None]
    if counts:
        torch._foreach_add_(counts, batches)
