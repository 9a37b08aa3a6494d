"""The recipe's crop and flip for a whole batch at once, on the device the data lives on.

Equal bit for bit to torchvision's `RandomCrop(32, padding=4)`, `RandomHorizontalFlip`, `ToTensor` and `Normalize` on PIL images given the
same offsets: padding is uint8 zero, before normalisation.
"""

import numpy as np
import torch
from torch.nn import functional

PADDING = 4
SIZE = 32


def normalize(images: torch.Tensor, white: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """uint8 `(B, 3, 32, 32)` -> float32, `(x / white - mean) / std`; mean and std are `(3, 1, 1)`.

    `white` is 255, a scalar on the images' device: by a number of the host's a GPU does not divide, it multiplies by the reciprocal, which
    rounds half of the 256 values another way (torch's BinaryDivTrueKernel.cu).
    """
    return images.float().div_(white).sub_(mean).div_(std)


class Augmentation:
    """Random crops and flips of a resident training set.

    Args:
        images: `(N, 32, 32, 3)` uint8, on any device; a zero-padded copy is kept there.
    """

    def __init__(self, images: torch.Tensor) -> None:
        padded = functional.pad(images.permute(0, 3, 1, 2), (PADDING,) * 4).permute(0, 2, 3, 1).contiguous()
        # A view with one axis for each crop offset: one indexing operation then gathers every sample's own window.
        self._windows = padded.unfold(1, SIZE, 1).unfold(2, SIZE, 1)

    @staticmethod
    def draw(count: int, generator: np.random.Generator) -> torch.Tensor:
        """Crop offsets (0 to 8, down and right) and flips (0 or 1) of one epoch: `(3, count)` int64 on the host."""
        offsets = generator.integers(0, 2 * PADDING + 1, size=(2, count))
        flips = generator.integers(0, 2, size=(1, count))
        return torch.from_numpy(np.concatenate([offsets, flips]))

    def batch(self, indices: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """The augmented images at `indices` `(B,)` under `codes` `(3, B)` (see `draw`): `(B, 3, 32, 32)` uint8."""
        down, right, flip = codes
        crops = self._windows[indices, down, right]
        return torch.where(flip.bool().view(-1, 1, 1, 1), crops.flip(3), crops)
