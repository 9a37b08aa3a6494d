"""What a run's epochs come to: pure functions of the rows of `metrics.csv` (see `schema.METRICS`; what is empty there is None)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def selection_metric(rows: Sequence[Row]) -> str:
    """What the best epoch is chosen by: the validation accuracy where a part is held out, else the benchmark's, the test accuracy."""
    return "test_fine_acc" if rows[-1].get("val_fine_acc") is None else "val_fine_acc"


def best(rows: Sequence[Row], metric: str) -> Row:
    """The epoch in which a metric was highest; the first of equals."""
    return max(rows, key=lambda row: row[metric])


def outcome(rows: Sequence[Row]) -> dict[str, Any]:
    """The fields of `schema.Result` that follow from the epochs alone."""
    last, top = rows[-1], best(rows, "test_fine_acc")
    selected = best(rows, "val_fine_acc") if selection_metric(rows) == "val_fine_acc" else {}
    return {
        "epochs": last["epoch"],
        "best_fine_acc": top["test_fine_acc"],
        "best_epoch": top["epoch"],
        "last_fine_acc": last["test_fine_acc"],
        "last_coarse_acc": last["test_coarse_acc"],
        "coarse_acc_at_best": top["test_coarse_acc"],
        "selected_epoch": selected.get("epoch"),
        "selected_val_acc": selected.get("val_fine_acc"),
        "selected_fine_acc": selected.get("test_fine_acc"),
        "fine_weight": finite(last["fine_weight"]),
        "coarse_weight": finite(last["coarse_weight"]),
        "conflict_rate": _mean(row["conflict_rate"] for row in rows),
        "cosine": _mean(row["cosine"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
        # Epochs of a checkpoint from before it was recorded count in full.
        "device_seconds": sum(row["seconds"] if row.get("device_seconds") is None else row["device_seconds"] for row in rows),
    }


def objective(result: Mapping[str, Any]) -> float | None:
    """What a search maximises: the best validation accuracy where a part is held out, else the best test accuracy, percent.

    Args:
        result: with the fields of `schema.Result`.
    """
    found: float | None = result["best_fine_acc"] if result["selected_val_acc"] is None else result["selected_val_acc"]
    return found


def finite(value: float) -> float | None:
    """The value, or None where it is no number or infinite."""
    return value if math.isfinite(value) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
