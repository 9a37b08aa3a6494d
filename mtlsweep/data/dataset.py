"""What a data set is here: three splits of uint8 images with a fine and a coarse label each."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Split:
    """Images `(N, 32, 32, 3)` uint8 with labels `(N,)` int64 of both tasks."""

    images: torch.Tensor
    fine: torch.Tensor
    coarse: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray) -> "Split":
        """The images at these positions, in this order."""
        chosen = torch.from_numpy(indices)
        return Split(self.images[chosen], self.fine[chosen], self.coarse[chosen])

    def to(self, device: torch.device) -> "Split":
        """The same split in a device's memory."""
        return Split(self.images.to(device), self.fine.to(device), self.coarse.to(device))


@dataclass(frozen=True)
class Dataset:
    """Training, held-out validation (or none) and test split, with the channel statistics that normalise them (of pixels in [0, 1])."""

    train: Split
    validation: Split | None
    test: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def balanced_order(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Indices of all samples, shuffled, such that every prefix holds each class equally often (counts differ by at most one).

    Args:
        labels: class of each sample, `(N,)`.
        generator: decides which samples come first.
    """
    shuffled = generator.permutation(len(labels))
    by_class = np.argsort(labels[shuffled], kind="stable")
    counts = np.bincount(labels)
    rank_in_class = np.empty(len(labels), dtype=np.int64)
    rank_in_class[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return shuffled[np.argsort(rank_in_class, kind="stable")]
