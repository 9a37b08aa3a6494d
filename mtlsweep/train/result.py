"""From a run's epochs to its result: pure functions of the rows of `metrics.csv`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtlsweep.runs import Result, now
from mtlsweep.runs.provenance import provenance
from mtlsweep.train.engine import Engine, device_name

# One epoch's values, by the names in `runs.schema.METRICS`.
Row = dict[str, Any]


def epoch_row(means: dict[str, float]) -> Row:
    """The training part of an epoch's row, from the means of its steps (`train.steps.Outcome`)."""
    return {
        "train_loss": means["minimised"],
        "fine_loss": means["fine_loss"],
        "coarse_loss": means["coarse_loss"],
        "train_acc": means["correct"],
        "fine_weight": means["fine_weight"],
        "coarse_weight": means["coarse_weight"],
        "conflict_rate": _finite(means["conflict"]),
        "cosine": _finite(means["cosine"]),
    }


def losses_finite(row: Row) -> bool:
    """Whether an epoch's losses are numbers; if not, the run has diverged."""
    return all(math.isfinite(row[name]) for name in ("train_loss", "fine_loss", "coarse_loss"))


def selection_metric(rows: Sequence[Row]) -> str:
    """What the best epoch is chosen by: the validation accuracy where a part is held out, else the benchmark's, the test accuracy."""
    return "val_fine_acc" if "val_fine_acc" in rows[-1] else "test_fine_acc"


def best(rows: Sequence[Row], metric: str) -> Row:
    """The epoch in which a metric was highest; the first of equals."""
    return max(rows, key=lambda row: row[metric])


def summarize(
    rows: Sequence[Row], diverged: bool, signature: str, attempts: int, engine: Engine, origins: Sequence[Mapping[str, Any]]
) -> Result:
    """The result of a run that ends with these epochs, which attempts of these origins made."""
    last, top = rows[-1], best(rows, "test_fine_acc")
    selected = best(rows, "val_fine_acc") if "val_fine_acc" in last else {}
    return Result(
        signature=signature,
        status="diverged" if diverged else "completed",
        reason=f"a loss became NaN or infinite in epoch {last['epoch']}" if diverged else None,
        epochs=last["epoch"],
        best_fine_acc=top["test_fine_acc"],
        best_epoch=top["epoch"],
        last_fine_acc=last["test_fine_acc"],
        last_coarse_acc=last["test_coarse_acc"],
        coarse_acc_at_best=top["test_coarse_acc"],
        selected_epoch=selected.get("epoch"),
        selected_val_acc=selected.get("val_fine_acc"),
        selected_fine_acc=selected.get("test_fine_acc"),
        fine_weight=_finite(last["fine_weight"]),
        coarse_weight=_finite(last["coarse_weight"]),
        conflict_rate=_mean(row["conflict_rate"] for row in rows),
        cosine=_mean(row["cosine"] for row in rows),
        seconds=sum(row["seconds"] for row in rows),
        attempts=attempts,
        device=device_name(engine.device),
        engine=engine.describe(),
        commit=provenance()["commit"],
        dirty=_any(one["dirty"] for one in origins),
        changed_midway=[key for key in ("commit", "torch", "device") if len({one.get(key) for one in origins}) > 1],
        finished=now(),
        # Epochs of a checkpoint from before it was recorded count in full.
        device_seconds=sum(row["device_seconds" if "device_seconds" in row else "seconds"] for row in rows),
    )


def _any(known: Iterable[bool | None]) -> bool | None:
    """Whether any is true; None where that is not known."""
    values = list(known)
    return True if True in values else None if None in values else False


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
