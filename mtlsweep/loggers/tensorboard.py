"""TensorBoard: event files in `<study>/tensorboard/`, by the runs' paths; `tensorboard --logdir runs/STUDY/tensorboard` shows them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlsweep.loggers.base import ALWAYS, MEASURED, Entry, Logger, need, numbers, summary

# What TensorBoard's table of runs shows beside the settings.
_FINAL = ("best_fine_acc", "last_fine_acc", "selected_fine_acc")

# Beside event files: when the run began that they are of.
_MARK = "began.txt"


class TensorBoard(Logger):
    """Scalars by epoch under the names of `metrics.csv`, the result's under `final/`, settings in the tab HPARAMS.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self) -> None:
        need("tensorboard", "tensorboard")
        self._writer: Any = None
        self._end: Any = None

    def start(self, entry: Entry) -> int:
        """Open the run's event files."""
        from torch.utils.tensorboard import SummaryWriter

        folder = _folder(entry)
        held = _epochs(folder)
        # The scalars of an epoch that was being written when the process was killed are passed over by readers.
        self._writer = SummaryWriter(str(folder), purge_step=held + 1 if held is not None else None)
        (folder / _MARK).write_text(entry.began)
        self._describe(entry, new=held is None)
        return held or 0

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log an epoch, and see that it is in the file."""
        known = {name: value for name, value in numbers(row).items() if name in MEASURED}
        for name in sorted(known, key=lambda name: name == ALWAYS):  # the last one says that the epoch is whole
            self._writer.add_scalar(name, known[name], row["epoch"])
        self._writer.flush()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the result and close the file."""
        for name, value in summary(result).items():
            self._writer.add_scalar(f"final/{name}", value, result["epochs"])
        self._writer.add_text("status", f"{result['status']}. {result['reason'] or ''}", result["epochs"])
        self._writer.file_writer.add_summary(self._end)
        self._writer.close()

    def leave(self, state: str) -> None:
        """Close the file."""
        self._writer.close()

    def _describe(self, entry: Entry, new: bool) -> None:
        from torch.utils.tensorboard.summary import hparams

        params = {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in entry.params.items()}
        experiment, begin, self._end = hparams(params, {f"final/{name}": 0.0 for name in _FINAL})
        if new:
            self._writer.file_writer.add_summary(experiment)
            self._writer.file_writer.add_summary(begin)
            lines = [f"| {name} | {value} |" for name, value in {"run": entry.name, **entry.tags, **entry.params}.items()]
            self._writer.add_text("run", "\n".join(["| setting | value |", "|---|---|", *lines]))


def _folder(entry: Entry) -> Path:
    """Where a run's event files are. Those of a run that was removed and is run anew are another's: their epochs are not the new one's."""
    folder = entry.study / "tensorboard" / entry.key
    mark = folder / _MARK
    if not entry.began or not mark.exists() or mark.read_text() in ("", entry.began):
        return folder
    return folder.with_name(f"{folder.name}-{re.sub('[^0-9]', '', entry.began)[:14]}")


def _epochs(folder: Path) -> int | None:
    """The number of epochs in a run's event files; None where there are no such files."""
    if not any(folder.glob("events.*")):
        return None
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return max((event.step for event in found.Scalars(ALWAYS)), default=0) if ALWAYS in found.Tags()["scalars"] else 0
