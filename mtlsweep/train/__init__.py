"""The engine: step programs, epoch loop, evaluation, checkpoint."""

from mtlsweep.train.check import check_parts
from mtlsweep.train.execute import execute

__all__ = ["check_parts", "execute"]
