"""The run directory: identity, ownership, status, metrics and result. Reads and writes files; imports neither torch nor pandas."""

from mtlsweep.runs.cell import Cell, label, loss_label, model_label
from mtlsweep.runs.claim import Claim, Taken, now
from mtlsweep.runs.directory import RunDirectory, State, Status
from mtlsweep.runs.records import Record, scan
from mtlsweep.runs.schema import METRICS, SCHEMA, TIME_COLUMNS, Result
from mtlsweep.runs.sweep_record import SweepRecord

__all__ = [
    "METRICS", "SCHEMA", "TIME_COLUMNS", "Cell", "Claim", "Record", "Result", "RunDirectory", "State", "Status", "SweepRecord", "Taken",
    "label", "loss_label", "model_label", "now", "scan",
]  # fmt: skip
