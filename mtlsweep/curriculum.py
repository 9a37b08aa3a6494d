"""Curricula: the factor on the coarse loss as a function of the epoch, applied before the strategy sees that loss.

Called with the 0-indexed epoch and the number of epochs; t = epoch / total_epochs runs from 0 to just below 1, as in the benchmark.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """The same factor `value` in every epoch."""

    value: float = 1.0

    def __post_init__(self) -> None:
        _not_negative(value=self.value)

    def __call__(self, epoch: int, total_epochs: int) -> float:
        return self.value


@dataclass(frozen=True)
class Polynomial:
    """From `start` to `floor` as `(1 - t)^power`; power 2 is HAW's fade."""

    power: float
    start: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require(self.power > 0, f"power must be above 0, got {self.power}")
        _not_negative(start=self.start, floor=self.floor)

    def __call__(self, epoch: int, total_epochs: int) -> float:
        return self.floor + (self.start - self.floor) * (1 - epoch / total_epochs) ** self.power


@dataclass(frozen=True)
class Cosine:
    """`start` for the first `warmup` share of the epochs, then half a cosine to `floor`."""

    warmup: float = 0.0
    start: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.warmup < 1, f"warmup must be at least 0 and below 1, got {self.warmup}")
        _not_negative(start=self.start, floor=self.floor)

    def __call__(self, epoch: int, total_epochs: int) -> float:
        progress = max(0.0, (epoch / total_epochs - self.warmup) / (1 - self.warmup))
        return self.floor + (self.start - self.floor) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Exponential:
    """From `start` towards `floor` as `exp(-rate t)`."""

    rate: float
    start: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require(self.rate > 0, f"rate must be above 0, got {self.rate}")
        _not_negative(start=self.start, floor=self.floor)

    def __call__(self, epoch: int, total_epochs: int) -> float:
        return self.floor + (self.start - self.floor) * math.exp(-self.rate * epoch / total_epochs)


@dataclass(frozen=True)
class Step:
    """`start` until the share `at` of the epochs is over, `floor` from then on."""

    at: float = 0.5
    start: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require(0 < self.at < 1, f"at must be above 0 and below 1, got {self.at}")
        _not_negative(start=self.start, floor=self.floor)

    def __call__(self, epoch: int, total_epochs: int) -> float:
        return self.start if epoch / total_epochs < self.at else self.floor  # at * total_epochs would be rounded: 0.55 * 200 is above 110


def _not_negative(**factors: float) -> None:
    """A negative factor would have the network unlearn the coarse labels."""
    for name, value in factors.items():
        _require(0 <= value < math.inf, f"{name} must be at least 0 and finite, got {value}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
