"""The engine: step programs, epoch loop, evaluation, checkpoint."""

from mtlsweep.train.check import check_calls, check_machine
from mtlsweep.train.execute import execute, on_lane

__all__ = ["check_calls", "check_machine", "execute", "on_lane"]
