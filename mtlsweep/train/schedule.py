"""The learning rate of each epoch."""

import math
from typing import Any


def learning_rate(schedule: dict[str, Any], epoch: int) -> float:
    """Cosine annealing to 0 (Loshchilov & Hutter, ICLR 2017, arXiv:1608.03983, without restarts); `epoch` runs from 0 to `epochs`."""
    return schedule["lr"] * (1 + math.cos(math.pi * epoch / schedule["epochs"])) / 2
