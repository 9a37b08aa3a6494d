"""A mini-batch from a data set in a GPU's memory by one Triton kernel: gathered, cropped, flipped, normalised, with its labels.

It gives the bits of `Augmentation.batch` and `normalize`: what a value becomes is looked up in a table that they have made.
"""

import torch
import triton
import triton.language as tl

from mtlsweep.data.augment import PADDING, SIZE
from mtlsweep.data.dataset import Split
from mtlsweep.train.kernels.early import BEGINS, wait

# Numbers that a program makes, of the 3 * SIZE * SIZE of an image.
BLOCK = 1024


def crop_flip(
    split: Split, indices: torch.Tensor, codes: torch.Tensor, table: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images `(B, 3, 32, 32)`, float32 and channels last, and both labels `(B,)`.

    Args:
        split: what they are taken from; its images `(N, 32, 32, 3)`.
        indices: `(B,)`, in the split.
        codes: `(3, B)`, see `Augmentation.draw`.
        table: what each value becomes in each channel, `(256, 3)`.
    """
    count = len(indices)
    images = torch.empty((count, 3, SIZE, SIZE), dtype=table.dtype, device=table.device, memory_format=torch.channels_last)
    fine, coarse = torch.empty_like(indices), torch.empty_like(indices)
    numbers = 3 * SIZE * SIZE
    _crop_flip[(count, triton.cdiv(numbers, BLOCK))](
        *(split.images, split.fine, split.coarse, indices.contiguous(), codes, codes.stride(0), codes.stride(1), table),
        *(images, fine, coarse),
        NUMBERS=numbers,
        EDGE=SIZE,
        BEYOND=PADDING,
        PER_PROGRAM=BLOCK,
        **BEGINS,
    )
    return images, fine, coarse


# Compiled once for all numbers and addresses. Triton would compile another one where one of them is divisible by 16: those of a step that
# is recorded as a CUDA graph differ from those of the steps before, and within a recording nothing can be compiled.
@triton.jit(do_not_specialize=["kind_stride", "image_stride"], do_not_specialize_on_alignment=["indices", "codes"])
def _crop_flip(  # type: ignore[no-untyped-def]
    images,
    fine_labels,
    coarse_labels,
    indices,
    codes,
    kind_stride,
    image_stride,
    table,
    result,
    fine,
    coarse,
    NUMBERS: tl.constexpr,
    EDGE: tl.constexpr,
    BEYOND: tl.constexpr,
    PER_PROGRAM: tl.constexpr,
) -> None:
    wait()
    b = tl.program_id(0)
    index = tl.load(indices + b)
    down = tl.load(codes + b * image_stride)
    right = tl.load(codes + kind_stride + b * image_stride)
    flip = tl.load(codes + 2 * kind_stride + b * image_stride)
    e = tl.program_id(1) * PER_PROGRAM + tl.arange(0, PER_PROGRAM)
    c, x, y = e % 3, (e // 3) % EDGE, e // (3 * EDGE)
    x = tl.where(flip != 0, EDGE - 1 - x, x) + right - BEYOND
    y += down - BEYOND
    inside = (x >= 0) & (x < EDGE) & (y >= 0) & (y < EDGE) & (e < NUMBERS)
    value = tl.load(images + index * NUMBERS + (y * EDGE + x) * 3 + c, mask=inside, other=0)
    tl.store(result + b * NUMBERS + e, tl.load(table + value.to(tl.int32) * 3 + c), mask=e < NUMBERS)
    if tl.program_id(1) == 0:
        tl.store(fine + b, tl.load(fine_labels + index))
        tl.store(coarse + b, tl.load(coarse_labels + index))
