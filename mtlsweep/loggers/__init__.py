"""Trackers that follow a run beside its own files (`logger=...`): one class a file, named as its YAML.

What a tracker shows is a copy: `metrics.csv` and `result.json` are written whatever it does, and no table is made of what it holds.
"""

from mtlsweep.loggers.base import Entry, Logger, Nothing
from mtlsweep.loggers.tracking import Tracking

__all__ = ["Entry", "Logger", "Nothing", "Tracking"]
