"""The engine: step programs, epoch loop, evaluation, checkpoint."""

from mtlsweep.train.check import check_calls, check_machine
from mtlsweep.train.execute import on_lane
from mtlsweep.train.lanes import Job, take_turns

__all__ = ["Job", "check_calls", "check_machine", "on_lane", "take_turns"]
