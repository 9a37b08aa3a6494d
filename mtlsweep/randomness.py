"""One random stream per (seed, purpose, epoch), made on the host.

Philox is a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): a stream is found by its key,
not by what was drawn before it. So a seed gives the same order, crops, flips and initial weights on every device, and a resumed run
needs no saved generator.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def stream(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """The generator of one purpose ("order", "augment", ...) in one epoch; independent of every other key's."""
    key = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), epoch])
    return np.random.Generator(np.random.Philox(key))


def reseed(generator: torch.Generator, seed: int, purpose: str, epoch: int = 0) -> None:
    """Let a generator of torch's draw from this key's beginning. What it gives depends on the kind of its device."""
    generator.manual_seed(_number(seed, purpose, epoch))


def seed_globals(seed: int, purpose: str, epoch: int = 0) -> None:
    """Seed the global generators of torch, NumPy and Python from this key's stream, for code that draws from them: a user's strategy."""
    number = _number(seed, purpose, epoch)
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@contextmanager
def seeded_torch(seed: int, purpose: str) -> Iterator[None]:
    """Like `seed_globals` for the length of a block; torch's generator is put back behind it."""
    with torch.random.fork_rng(devices=[]):
        seed_globals(seed, purpose)
        yield


def _number(seed: int, purpose: str, epoch: int) -> int:
    return int(stream(seed, purpose, epoch).integers(2**63))
