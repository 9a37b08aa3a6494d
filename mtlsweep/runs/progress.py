"""How far a run has come, as `metrics.csv` tells it while the run goes on."""

import csv
from pathlib import Path


def rows(directory: Path) -> list[dict[str, str]]:
    """The rows of a run's `metrics.csv`, one per finished epoch; none before the first, or where the file is damaged."""
    try:
        with open(directory / "metrics.csv", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def epochs_done(directory: Path) -> int:
    """Number of epochs a run has finished."""
    return len(rows(directory))
