"""A stand-in for CIFAR-100 that needs no files: 100 fine classes in 20 coarse ones, told apart by colour and by a pattern of soft blobs.

A coarse class is a colour and a pattern on a 4 x 4 grid; its five fine classes each add a fainter colour and a finer pattern (8 x 8). An
image shows its class's pattern at a random contrast under random blobs, a colour cast and pixel noise. No blob is smaller
than the padding of a random crop, and patterns are mirror images of themselves, so crops and flips leave a class what it was.
"""

import numpy as np
import torch

from mtlsweep.data.dataset import Split
from mtlsweep.randomness import stream

# Channel statistics measured over seeds 0 to 9, where they stay within 0.02 of these; the channels are alike by construction.
MEAN = (0.5, 0.5, 0.5)
STD = (0.265, 0.265, 0.265)

TRAIN_SIZE, TEST_SIZE = 50_000, 10_000
FINE, COARSE = 100, 20
SIZE = 32
CHUNK = 1000

# Amplitudes in grey levels of 0 to 255. Tuned so that ResNet-20 is well above chance after 48 steps and far from perfect after 500.
COARSE_COLOURS = np.arange(-95, 96, 10)  # one level for each coarse class, per channel
FINE_COLOURS = np.arange(-32, 33, 16)  # one level for each fine class of a coarse one, per channel
COARSE_PATTERN, FINE_PATTERN = 80, 48
CAST, BLOBS, NOISE = 16, 32, 16
GREY = 128


def generate(seed: int, train_size: int | None, test_size: int | None) -> tuple[Split, Split]:
    """Training and test split of one seed; both show the same classes.

    A smaller split is the start of a larger one. Every 100 images from a multiple of 100 on hold each fine class once; fine class f belongs
    to coarse class f // 5.

    Args:
        seed: decides the classes' patterns and the images.
        train_size, test_size: numbers of images; None: 50,000 and 10,000.
    """
    patterns = _patterns(stream(seed, "synthetic-patterns"))
    train = _split(patterns, seed, "train", TRAIN_SIZE if train_size is None else train_size)
    return train, _split(patterns, seed, "test", TEST_SIZE if test_size is None else test_size)


def _patterns(generator: np.random.Generator) -> np.ndarray:
    """What each fine class adds to grey: `(100, 3, 32, 32)` float32."""
    coarse = _spread(generator, COARSE_COLOURS, 1) + _mirrored(_uniform(generator, COARSE_PATTERN, (COARSE, 3, 4, 4)))
    fine = _spread(generator, FINE_COLOURS, COARSE) + _mirrored(_uniform(generator, FINE_PATTERN, (FINE, 3, 8, 8)))
    return np.repeat(_enlarge(coarse), FINE // COARSE, axis=0) + _enlarge(fine)


def _spread(generator: np.random.Generator, levels: np.ndarray, groups: int) -> np.ndarray:
    """Every level once in each group and channel, so that no two classes of a group share one: `(groups * len(levels), 3, 1, 1)`."""
    shuffled = generator.permuted(np.tile(levels, (groups, 3, 1)), axis=2)
    return shuffled.transpose(0, 2, 1).reshape(-1, 3, 1, 1).astype(np.float32)


def _split(patterns: np.ndarray, seed: int, name: str, size: int) -> Split:
    images = np.empty((size, SIZE, SIZE, 3), np.uint8)
    fine = np.empty(size, np.int64)
    for start in range(0, size, CHUNK):
        part = slice(start, start + CHUNK)
        chunk_images, chunk_fine = _chunk(patterns, stream(seed, f"synthetic-{name}", start // CHUNK))
        count = len(fine[part])
        images[part], fine[part] = chunk_images[:count], chunk_fine[:count]
    labels = torch.from_numpy(fine)
    return Split(torch.from_numpy(images), labels, labels // (FINE // COARSE))


def _chunk(patterns: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`CHUNK` images `(CHUNK, 32, 32, 3)` uint8 and their fine classes."""
    fine = np.concatenate([generator.permutation(FINE) for _ in range(CHUNK // FINE)])
    contrast = generator.integers(48, 80, (CHUNK, 1, 1, 1)).astype(np.float32) / 64
    nuisance = _uniform(generator, CAST, (CHUNK, 3, 1, 1)) + _uniform(generator, BLOBS, (CHUNK, 3, 4, 4))
    images = patterns[fine]
    images *= contrast
    images += _enlarge(nuisance + GREY)
    images += _uniform(generator, NOISE, images.shape)
    return images.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1), fine


def _uniform(generator: np.random.Generator, amplitude: int, shape: tuple[int, ...]) -> np.ndarray:
    return generator.integers(-amplitude, amplitude, shape, np.int8, endpoint=True).astype(np.float32)


def _mirrored(grid: np.ndarray) -> np.ndarray:
    return (grid + grid[..., ::-1]) / 2


def _enlarge(grid: np.ndarray) -> np.ndarray:
    """Bilinear, `(..., k, k)` to `(..., 32, 32)`.

    Cells and weights are multiples of 1/2 and 1/16, so float32 holds every sum exactly: the images are the same bytes whatever order a
    platform's matrix product adds in.
    """
    cells = grid.shape[-1]
    pixels = np.clip((np.arange(SIZE, dtype=np.float32) + 0.5) * cells / SIZE - 0.5, 0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(pixels[:, None] - np.arange(cells, dtype=np.float32)))
    return weights @ grid @ weights.T
