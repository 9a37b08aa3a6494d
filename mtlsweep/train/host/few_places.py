"""The gradient of a convolution's weights, of images of few pixels: products of matrices, without those with what lies outside an image."""

from collections.abc import Iterator

import torch
from torch import nn

# Sides of an image, in pixels, up to which that takes less time than oneDNN's (benchmarks/README.md): of 2 x 2 more than half of a
# convolution's products are with zeros.
SIDES = {torch.bfloat16: 4, torch.float32: 2}


def can(layer: nn.Conv2d, images: torch.Tensor) -> bool:
    """Whether a 3 x 3 convolution that is padded by 1, of these images, is one."""
    return layer.stride == (1, 1) and max(images.shape[2:]) <= SIDES.get(images.dtype, 0)


def weight_gradient(images: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor) -> None:
    """Write the gradient of a convolution's weights.

    Args:
        images: `(B, C, H, W)`, channels last.
        gradient: of what came out, `(B, O, H, W)`, likewise.
        result: where it goes, `(O, C, 3, 3)`; rounded as the images are.
    """
    pixels, arrives = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    height, width = images.shape[2:]
    for y, (rows, rows_before) in enumerate(_shifts(height)):
        for x, (columns, columns_before) in enumerate(_shifts(width)):
            seen, came = pixels[:, rows, columns], arrives[:, rows_before, columns_before]
            result[:, :, y, x] = came.reshape(-1, came.shape[-1]).t() @ seen.reshape(-1, seen.shape[-1])


def _shifts(size: int) -> Iterator[tuple[slice, slice]]:
    """By each of three weights in a row: which pixels it is multiplied by, and which of the result's it adds to."""
    for shift in (-1, 0, 1):
        yield slice(max(0, shift), size + min(0, shift)), slice(max(0, -shift), size - max(0, shift))
