"""3 x 3 convolutions of few channels on a GPU, in Triton.

cuDNN's kernels are made for many channels: with 16 to 64 of them most of a tile is idle, and of the gradients of the weights those that
give the same bits twice pass through fp32 copies (benchmarks/README.md). Here a product's rows are pixels and its columns a layer's
channels, all of them; sums over pixels are made in parts, which are added in the same order every time.

Images and gradients are channels-last, `(B, C, H, W)`; weights `(O, C, 3, 3)` in any layout and in fp32, rounded to the images' precision
as they are read. Products are summed in fp32.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from mtlsweep.train.kernels.early import BEGINS, wait

# Of a launch: rows of a tile, warps, pipeline stages; and what differs from that by the layer's channels (in, out). These were the fastest
# of 7 to 14 that were tried of each on an H200, for the layers of ResNet-20 and mini-batches of 128, of the kernels that were there before
# the fused ones (benchmarks/README.md). `python -m benchmarks.tiles` tries others.
TILES: dict[str, dict[str, int]] = {
    "convolve": {"BLOCK_M": 128, "num_warps": 4, "num_stages": 3},
    "input_gradient": {"BLOCK_M": 128, "num_warps": 4, "num_stages": 3},
    "weight_gradient": {"BLOCK_K": 64, "BLOCK_M": 64, "CHUNK": 512, "num_warps": 4, "num_stages": 3},
    "sum": {"BLOCK": 32, "AT_ONCE": 64, "num_warps": 4},
}
TILES_BY_CHANNELS: dict[tuple[str, int, int], dict[str, int]] = {
    ("convolve", 3, 16): {"num_stages": 1},
    ("convolve", 3, 64): {"num_stages": 1},  # not tried
    ("convolve", 16, 16): {"BLOCK_M": 256},
    ("convolve", 16, 32): {"num_warps": 2},
    ("convolve", 32, 32): {"num_stages": 5},
    ("convolve", 32, 64): {"BLOCK_M": 64},
    ("convolve", 64, 64): {"BLOCK_M": 64},
    ("input_gradient", 16, 16): {"BLOCK_M": 256},
    ("input_gradient", 16, 32): {"BLOCK_M": 256},
    ("input_gradient", 32, 64): {"num_warps": 8},
    ("input_gradient", 64, 64): {"num_warps": 8},
    ("weight_gradient", 3, 16): {"BLOCK_K": 32, "num_stages": 1},
    ("weight_gradient", 3, 64): {"BLOCK_K": 32, "num_stages": 1},  # not tried
    ("weight_gradient", 16, 16): {"CHUNK": 1024},
    ("weight_gradient", 16, 32): {"CHUNK": 256},
    ("sum", 3, 16): {"BLOCK": 16},
    ("sum", 32, 64): {"BLOCK": 64, "AT_ONCE": 32},
    ("sum", 64, 64): {"BLOCK": 64, "AT_ONCE": 32},
}
# A product has at least so many columns and terms.
LEAST = 16
# Channels up to which the gradients of a row of weights are one product, whose sums must fit a program's registers.
WIDEST_IN_A_ROW = 32


class Correlation(NamedTuple):
    """A launch of a kernel that convolves.

    Attributes:
        grid: number of programs.
        tensors: what is given, the weights, the result.
        rows: pixels of the result.
        constants: of the kernel, those of its launch included.
    """

    grid: tuple[int]
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    rows: int
    constants: dict[str, Any]


def correlation(kind: str, given: torch.Tensor, weights: torch.Tensor, result: torch.Tensor, stride: int) -> Correlation:
    """How a convolution with a padding of 1 is launched ("convolve"), or what makes of a gradient of its result that of its images
    ("input_gradient")."""
    forward = kind == "convolve"
    tiles = _tiles(kind, weights.shape[1], len(weights))
    of_weights = strides(weights if forward else weights.transpose(0, 1))  # what comes in is what went out
    rows, inputs = result.numel() // result.shape[1], given.shape[1]
    how = {"DOWN": stride if forward else 1, "UP": 1 if forward else stride, "FLIP": not forward}
    terms = inputs if inputs >= LEAST else triton.next_power_of_2(9 * inputs)
    constants = {**_sizes(given, result), **of_weights, **how, "BLOCK_K": terms, **tiles}
    up, pixels = how["UP"], len(result)
    for size in result.shape[2:]:
        pixels *= triton.cdiv(size, up)
    programs = up * up * triton.cdiv(pixels, tiles["BLOCK_M"])
    return Correlation((programs,), (given, weights, result), rows, constants | {"EVEN": programs * tiles["BLOCK_M"] == rows})


def convolve(images: torch.Tensor, weights: torch.Tensor, stride: int, precision: torch.dtype) -> torch.Tensor:
    """The convolution with a padding of 1: `(B, O, H / stride, W / stride)` in a precision."""
    batch, _, height, width = images.shape
    result = empty((batch, len(weights), -(-height // stride), -(-width // stride)), precision, images)
    _launch(correlation("convolve", images, weights, result, stride))
    return result


def input_gradient(gradient: torch.Tensor, weights: torch.Tensor, stride: int, height: int, width: int) -> torch.Tensor:
    """Gradient of the result -> that of images of a height and a width: `(B, C, height, width)`, in the same precision.

    Raises:
        NotImplementedError: of fewer than `LEAST` channels: nothing here differentiates by the pixels of a data set.
    """
    inputs = weights.shape[1]
    if inputs < LEAST:
        raise NotImplementedError(f"the gradient of images of {inputs} channels; engine.triton=false has it")
    result = empty((len(gradient), inputs, height, width), gradient.dtype, gradient)
    _launch(correlation("input_gradient", gradient, weights, result, stride))
    return result


def weight_gradient(images: torch.Tensor, gradient: torch.Tensor, weights: torch.Tensor, stride: int) -> torch.Tensor:
    """Gradient of the result -> that of the weights: in fp32 and in their layout."""
    inputs, outputs = weights.shape[1], len(weights)
    count = parts_of(inputs, gradient)
    parts = torch.empty((1, count * outputs * 9 * inputs), dtype=torch.float32, device=images.device)
    weight_gradient_parts(images, gradient, stride, parts)
    of_sum = _tiles("sum", inputs, outputs)
    result = torch.empty_like(weights, dtype=torch.float32)
    _weight_gradient_sum[(triton.cdiv(9 * inputs * outputs, of_sum["BLOCK"]),)](
        parts, result, COUNT=count, CI=inputs, CO=outputs, **strides(result), **of_sum
    )
    return result


def parts_of(inputs: int, gradient: torch.Tensor) -> int:
    """In how many parts `weight_gradient_parts` sums over the pixels of a gradient of the result."""
    outputs = gradient.shape[1]
    return triton.cdiv(gradient.numel() // outputs, _tiles("weight_gradient", inputs, outputs)["CHUNK"])


def weight_gradient_parts(images: torch.Tensor, gradient: torch.Tensor, stride: int, parts: torch.Tensor) -> None:
    """Write the parts of K gradients of the weights, each `(parts, O, 3, 3, C)`, into `(K, n)`, in fp32; rows may be apart.

    Args:
        images: `(B, C, H, W)`.
        gradient: those of the result, one after another: `(K B, O, H / stride, W / stride)`.
        stride: of the convolution.
        parts: receives them.
    """
    inputs, outputs = images.shape[1], gradient.shape[1]
    one = gradient[: len(images)]
    tiles, rows = _tiles("weight_gradient", inputs, outputs), one.numel() // outputs
    given, sizes = (images, gradient, parts, parts.stride(0), rows), _sizes(images, gradient)
    if stride == 1 and LEAST <= inputs <= WIDEST_IN_A_ROW:
        grid = (3, parts_of(inputs, one), len(parts))
        own = {key: value for key, value in tiles.items() if key != "BLOCK_K"}
        same = {key: sizes[key] for key in ("HI", "WI", "CI", "CO")}  # as high and as wide as what comes out
        _weight_gradient_parts_of_rows[grid](*given, **same, EVEN=rows % tiles["CHUNK"] == 0, **own, **BEGINS)
        return
    grid = (triton.cdiv(9 * inputs, tiles["BLOCK_K"]), parts_of(inputs, one), len(parts))
    _weight_gradient_parts[grid](*given, **sizes, STRIDE=stride, **tiles, **BEGINS)


def empty(size: tuple[int, ...], precision: torch.dtype, like: torch.Tensor) -> torch.Tensor:
    """Memory for images, channels-last, on the device of others."""
    return torch.empty(size, dtype=precision, device=like.device, memory_format=torch.channels_last)


def _launch(call: Correlation) -> None:
    _correlation[call.grid](*call.tensors, call.rows, **call.constants)


def _sizes(given: torch.Tensor, result: torch.Tensor) -> dict[str, int]:
    return dict(zip(("CI", "HI", "WI", "CO", "HO", "WO"), (*given.shape[1:], *result.shape[1:]), strict=True))


def strides(weights: torch.Tensor) -> dict[str, int]:
    """Constants of a kernel."""
    return dict(zip(("W_OUT", "W_IN", "W_R", "W_S"), weights.stride(), strict=True))


def _tiles(kind: str, inputs: int, outputs: int) -> dict[str, int]:
    return TILES[kind] | TILES_BY_CHANNELS.get((kind, inputs, outputs), {})


@triton.jit
def _correlation(  # type: ignore[no-untyped-def]
    given,
    weights,
    result,
    rows,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    CO: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    DOWN: tl.constexpr,
    UP: tl.constexpr,
    FLIP: tl.constexpr,
    EVEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    m, n = tile(rows, HO, WO, UP, BLOCK_M), tl.arange(0, CO)
    here = are_pixels(m, rows, EVEN)
    total = correlated(m, here, given, weights, result, HI, WI, CI, HO, WO, CO, W_IN, W_OUT, W_R, W_S, DOWN, UP, FLIP, BLOCK_M, BLOCK_K)
    tl.store(result + m[:, None] * CO + n[None, :], total.to(result.dtype.element_ty), mask=here[:, None])


@triton.jit
def tile(rows, H: tl.constexpr, W: tl.constexpr, UP: tl.constexpr, BLOCK_M: tl.constexpr) -> tl.tensor:  # type: ignore[no-untyped-def]
    """A program's pixels of a result of H by W; where there are fewer, `rows`, which none is.

    With UP = 2 they are every second one of every second line, for to them the same weights belong.
    """
    if UP == 1:
        return tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    place, lines, columns = tl.program_id(0) // 4 * BLOCK_M + tl.arange(0, BLOCK_M), (H + 1) // 2, (W + 1) // 2
    down = place // columns % lines * 2 + tl.program_id(0) % 4 // 2
    across = place % columns * 2 + tl.program_id(0) % 2
    m = (place // (columns * lines) * H + down) * W + across
    return tl.where((down < H) & (across < W), tl.minimum(m, rows), rows)


@triton.jit
def are_pixels(m, rows, EVEN: tl.constexpr) -> tl.tensor:  # type: ignore[no-untyped-def]
    """Which of a program's are pixels of a result. EVEN: all of them, in all programs, which need not look then."""
    if EVEN:
        return tl.full(m.shape, True, tl.int1)
    return m < rows


@triton.jit
def correlated(  # type: ignore[no-untyped-def]
    m,
    here,
    given,
    weights,
    like,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    CO: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    DOWN: tl.constexpr,
    UP: tl.constexpr,
    FLIP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> tl.tensor:
    """In fp32 the pixels m of a result, `(BLOCK_M, CO)`: rows are pixels, columns the result's channels.

    m, here: of `tile`, and which of them are pixels. like: whose precision the factors are rounded to. DOWN: the stride. UP: between the
    pixels of what is given lie UP - 1 zeros (at most one). FLIP: the weights the other way round.
    """
    n, k = tl.arange(0, CO), tl.arange(0, BLOCK_K)
    across, down, image = m % WO, (m // WO) % HO, m // (WO * HO)
    total = tl.zeros((BLOCK_M, CO), dtype=tl.float32)
    if CI == BLOCK_K:
        if UP > 1:  # of the nine neighbours a pixel has those that are no zeros: one, two, two or four
            odd_line, odd_column = tl.program_id(0) % 4 // 2, tl.program_id(0) % 2
            taps = (1 + odd_line) * (1 + odd_column)
        else:
            taps = 9
        for tap in range(taps):
            if UP > 1:
                r, s = 1 - odd_line + tap // (1 + odd_column) * 2, 1 - odd_column + tap % (1 + odd_column) * 2
                h, v = (down + r - 1) // 2, (across + s - 1) // 2
            else:
                r, s = tap // 3, tap % 3
                h, v = down * DOWN + r - 1, across * DOWN + s - 1
            inside = here & (h >= 0) & (h < HI) & (v >= 0) & (v < WI)
            a = tl.load(given + ((image * HI + h) * WI + v)[:, None] * CI + k[None, :], mask=inside[:, None], other=0.0)
            if FLIP:
                r, s = 2 - r, 2 - s
            b = tl.load(weights + r * W_R + s * W_S + k[:, None] * W_IN + n[None, :] * W_OUT)
            total = tl.dot(a.to(like.dtype.element_ty), b.to(like.dtype.element_ty), total)
    else:  # too few channels for a product of their own: all nine neighbours are one
        tap, c = k // CI, k % CI
        r, s = tap // 3, tap % 3
        h, v = down[:, None] * DOWN + r[None, :] - 1, across[:, None] * DOWN + s[None, :] - 1
        inside = here[:, None] & (tap < 9)[None, :] & (h >= 0) & (h < HI) & (v >= 0) & (v < WI)
        a = tl.load(given + ((image[:, None] * HI + h) * WI + v) * CI + c[None, :], mask=inside, other=0.0)
        b = tl.load(weights + (r * W_R + s * W_S + c * W_IN)[:, None] + n[None, :] * W_OUT, mask=(tap < 9)[:, None], other=0.0)
        total = tl.dot(a.to(like.dtype.element_ty), b.to(like.dtype.element_ty), total)
    return total


@triton.jit
def _weight_gradient_parts(  # type: ignore[no-untyped-def]
    images,
    gradient,
    parts,
    apart,
    rows,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
) -> None:
    """Rows are places of the weights (neighbour and input channel), columns the output channels; summed over CHUNK pixels."""
    wait()
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    n = tl.arange(0, CO)
    tap, c = k // CI, k % CI
    r, s = tap // 3, tap % 3
    gradient += tl.program_id(2) * rows * CO
    parts += tl.program_id(2) * apart
    total = tl.zeros((BLOCK_K, CO), dtype=tl.float32)
    for start in range(0, CHUNK, BLOCK_M):
        m = tl.program_id(1) * CHUNK + start + tl.arange(0, BLOCK_M)
        across, down, image = m % WO, (m // WO) % HO, m // (WO * HO)
        h, v = down[:, None] * STRIDE + r[None, :] - 1, across[:, None] * STRIDE + s[None, :] - 1
        inside = (m < rows)[:, None] & (k < 9 * CI)[None, :] & (h >= 0) & (h < HI) & (v >= 0) & (v < WI)
        a = tl.load(images + ((image[:, None] * HI + h) * WI + v) * CI + c[None, :], mask=inside, other=0.0)
        g = tl.load(gradient + m[:, None] * CO + n[None, :], mask=(m < rows)[:, None], other=0.0)
        total = tl.dot(tl.trans(a.to(gradient.dtype.element_ty)), g, total)
    places = (tl.program_id(1) * CO + n)[None, :] * (9 * CI) + k[:, None]
    tl.store(parts + places, total, mask=(k < 9 * CI)[:, None])


@triton.jit
def _weight_gradient_parts_of_rows(  # type: ignore[no-untyped-def]
    images,
    gradient,
    parts,
    apart,
    rows,
    HI: tl.constexpr,
    WI: tl.constexpr,
    CI: tl.constexpr,
    CO: tl.constexpr,
    EVEN: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_M: tl.constexpr,
) -> None:
    """The same where nothing is left out between pixels: a program has one of the three rows of the weights. A pixel's neighbours in a row
    lie side by side in memory; four of them are read, for a product's rows are a power of two, and the fourth is dropped.

    EVEN: all programs have CHUNK pixels.
    """
    wait()
    k, n = tl.arange(0, 4 * CI), tl.arange(0, CO)
    r, s = tl.program_id(0), k // CI
    gradient += tl.program_id(2) * rows * CO
    parts += tl.program_id(2) * apart
    total = tl.zeros((4 * CI, CO), dtype=tl.float32)
    for start in range(0, CHUNK, BLOCK_M):
        m = tl.program_id(1) * CHUNK + start + tl.arange(0, BLOCK_M)
        h, v = (m // WI) % HI + r - 1, (m % WI)[:, None] + s[None, :] - 1
        here = are_pixels(m, rows, EVEN)
        inside = (here & (h >= 0) & (h < HI))[:, None] & (v >= 0) & (v < WI)
        g = tl.load(gradient + m[:, None] * CO + n[None, :], mask=here[:, None], other=0.0)
        a = tl.load(images + ((m + (r - 1) * WI - 1) * CI)[:, None] + k[None, :], mask=inside, other=0.0)
        total = tl.dot(tl.trans(a.to(gradient.dtype.element_ty)), g, total)
    places = (tl.program_id(1) * CO + n)[None, :] * (9 * CI) + (r * 3 * CI + k)[:, None]
    tl.store(parts + places, total, mask=(s < 3)[:, None])


@triton.jit
def _weight_gradient_sum(  # type: ignore[no-untyped-def]
    parts,
    result,
    COUNT: tl.constexpr,
    CI: tl.constexpr,
    CO: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    W_R: tl.constexpr,
    W_S: tl.constexpr,
    BLOCK: tl.constexpr,
    AT_ONCE: tl.constexpr,
) -> None:
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((AT_ONCE, BLOCK), dtype=tl.float32)
    for start in range(0, COUNT, AT_ONCE):
        p = start + tl.arange(0, AT_ONCE)
        there = (p < COUNT)[:, None] & (e < 9 * CI * CO)[None, :]
        total += tl.load(parts + p[:, None] * (9 * CI * CO) + e[None, :], mask=there, other=0.0)
    n, k = e // (9 * CI), e % (9 * CI)
    tap, c = k // CI, k % CI
    places = n * W_OUT + c * W_IN + (tap // 3) * W_R + (tap % 3) * W_S
    tl.store(result + places, tl.sum(total, 0), mask=e < 9 * CI * CO)
