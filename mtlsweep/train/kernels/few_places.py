"""3 x 3 convolutions of small images on a GPU, in Triton: of 4 x 4 or 2 x 2 pixels, as the last ones of a VGG.

Of a pixel's neighbours many lie outside such an image: one of 2 x 2 has four of nine, one of 4 x 4 six and a quarter on average. The others
are products with zeros, which a library computes, and it cuts so few pixels into too few tiles for a large GPU. Here a program has the same
pixel of many images, so that all of its rows have the same neighbours, and takes those that there are.

Images and gradients are channels-last, `(B, C, H, W)`, weights channels-last, `(O, C, 3, 3)`, all in one precision. The padding is 1, the
stride 1. Products are summed in fp32. Channels are multiples of the tiles'.
"""

import torch
import triton
import triton.language as tl

from mtlsweep.train.kernels.early import BEGINS, wait
from mtlsweep.train.kernels.few_channels import empty, strides

# Of a tile: images, channels that come out, channels that go in at once; by the number of an image's pixels. Not tuned yet: so that a
# mini-batch of 128 has 128 programs for the 132 multiprocessors of an H200, with 512 channels.
TILES: dict[int, dict[str, int]] = {
    4: {"BLOCK_B": 64, "BLOCK_N": 32, "BLOCK_K": 64, "num_warps": 4, "num_stages": 4},
    16: {"BLOCK_B": 128, "BLOCK_N": 64, "BLOCK_K": 64, "num_warps": 4, "num_stages": 4},
}
# Of the weights' gradient: channels that come out, that go in, images at once.
WEIGHTS = {"BLOCK_N": 128, "BLOCK_C": 64, "BLOCK_B": 64, "num_warps": 4, "num_stages": 3}
# What channels are multiples of.
MULTIPLE = 128


def fit(images: torch.Tensor, weights: torch.Tensor) -> bool:
    """Whether images are this small, and their channels many enough."""
    return images.shape[2] * images.shape[3] <= max(TILES) and not any(channels % MULTIPLE for channels in weights.shape[:2])


def convolve(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The convolution, `(B, O, H, W)`."""
    return _launch(images, weights, len(weights), flip=False)


def input_gradient(gradient: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Gradient of the result -> that of images, `(B, C, H, W)`."""
    return _launch(gradient, weights.transpose(0, 1), weights.shape[1], flip=True)  # what comes in is what went out


def weight_gradient(images: torch.Tensor, gradient: torch.Tensor, result: torch.Tensor) -> None:
    """Write K gradients of the weights, each as `(O, 3, 3, C)`, into `(K, O * 9 * C)`, in fp32; rows may be apart.

    Args:
        images: `(B, C, H, W)`.
        gradient: those of the result, one after another: `(K B, O, H, W)`.
        result: receives them.
    """
    inputs, outputs = images.shape[1], gradient.shape[1]
    grid = (9 * (inputs // WEIGHTS["BLOCK_C"]), outputs // WEIGHTS["BLOCK_N"], len(result))
    _weight_gradient_places[grid](*(images, gradient, result, result.stride(0), len(images)), **_sizes(images), CO=outputs, **WEIGHTS)


def _launch(given: torch.Tensor, weights: torch.Tensor, outputs: int, flip: bool) -> torch.Tensor:
    result = empty((len(given), outputs, *given.shape[2:]), given.dtype, given)
    places = given.shape[2] * given.shape[3]
    tiles = TILES[min(size for size in TILES if size >= places)]
    grid = (places, triton.cdiv(len(given), tiles["BLOCK_B"]), outputs // tiles["BLOCK_N"])
    _convolve_places[grid](
        *(given, weights, result, len(given)), **_sizes(given), CO=outputs, **strides(weights), FLIP=flip, **tiles, **BEGINS
    )
    return result


def _sizes(images: torch.Tensor) -> dict[str, int]:
    return dict(zip(("CI", "H", "W"), images.shape[1:], strict=True))


@triton.jit
def _convolve_places(  # type: ignore[no-untyped-def]
    given,
    weights,
    result,
    images,
    CI: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    CO: tl.constexpr,
    W_OUT: tl.constexpr,
    W_IN: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    FLIP: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    """Rows are images, columns channels. FLIP: the weights the other way round."""
    wait()
    down, across = tl.program_id(0) // W, tl.program_id(0) % W
    b, n = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B), tl.program_id(2) * BLOCK_N + tl.arange(0, BLOCK_N)
    k, here = tl.arange(0, BLOCK_K), (b < images)[:, None]
    # The neighbours that there are: rows from `first_r`, columns from `first_s`.
    first_r, first_s = tl.where(down == 0, 1, 0), tl.where(across == 0, 1, 0)
    columns = tl.where(across == W - 1, 2, 3) - first_s
    taps = (tl.where(down == H - 1, 2, 3) - first_r) * columns
    total = tl.zeros((BLOCK_B, BLOCK_N), dtype=tl.float32)
    for step in range(taps * (CI // BLOCK_K)):
        tap, c = step // (CI // BLOCK_K), step % (CI // BLOCK_K) * BLOCK_K + k
        r, s = first_r + tap // columns, first_s + tap % columns
        place = (down + r - 1) * W + across + s - 1
        a = tl.load(given + (b * (H * W) + place)[:, None] * CI + c[None, :], mask=here, other=0.0)
        if FLIP:
            r, s = 2 - r, 2 - s
        w = tl.load(weights + r * W_R + s * W_S + c[:, None] * W_IN + n[None, :] * W_OUT)
        total = tl.dot(a, w, total)
    places = (b * (H * W) + tl.program_id(0))[:, None] * CO + n[None, :]
    tl.store(result + places, total.to(result.dtype.element_ty), mask=here)


@triton.jit
def _weight_gradient_places(  # type: ignore[no-untyped-def]
    images,
    gradient,
    result,
    apart,
    count,
    CI: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    CO: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
) -> None:
    """Rows are channels that come out, columns those that go in, of one of the nine weights; summed over the pixels that have that
    neighbour."""
    tap = tl.program_id(0) % 9
    r, s = tap // 3, tap % 3
    n, c = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N), tl.program_id(0) // 9 * BLOCK_C + tl.arange(0, BLOCK_C)
    first_down, first_across = tl.where(r == 0, 1, 0), tl.where(s == 0, 1, 0)
    rows, columns = tl.where(r == 1, H, H - 1), tl.where(s == 1, W, W - 1)
    gradient += tl.program_id(2) * count * (H * W) * CO
    total = tl.zeros((BLOCK_N, BLOCK_C), dtype=tl.float32)
    at_once = tl.cdiv(count, BLOCK_B)
    for step in range(rows * columns * at_once):  # a place after the other: no pixel's place has to be worked out by itself
        place, b = step // at_once, step % at_once * BLOCK_B + tl.arange(0, BLOCK_B)
        down, across, here = first_down + place // columns, first_across + place % columns, (b < count)[:, None]
        g = tl.load(gradient + (b * (H * W) + down * W + across)[:, None] * CO + n[None, :], mask=here, other=0.0)
        neighbour = b * (H * W) + (down + r - 1) * W + across + s - 1
        a = tl.load(images + neighbour[:, None] * CI + c[None, :], mask=here, other=0.0)
        total = tl.dot(tl.trans(g), a, total)
    tl.store(result + tl.program_id(2) * apart + (n[:, None] * 9 + tap) * CI + c[None, :], total)
