"""From an epoch to its row in `metrics.csv`, and from all of them to a result."""

import math
from collections.abc import Iterable

from mtlsweep.runs import Result, now
from mtlsweep.runs.outcome import Row, finite, outcome
from mtlsweep.runs.provenance import provenance
from mtlsweep.train.checkpoint import Progress
from mtlsweep.train.engine import Engine, device_name


def epoch_row(means: dict[str, float]) -> Row:
    """The training part of an epoch's row, from the means of its steps (`train.steps.StepMetrics`)."""
    return {
        "train_loss": means["minimised"],
        "fine_loss": means["fine_loss"],
        "coarse_loss": means["coarse_loss"],
        "train_acc": means["correct"],
        "fine_weight": means["fine_weight"],
        "coarse_weight": means["coarse_weight"],
        "conflict_rate": finite(means["conflict"]),
        "cosine": finite(means["cosine"]),
    }


def losses_finite(row: Row) -> bool:
    """Whether an epoch's losses are numbers; if not, the run has diverged."""
    return all(math.isfinite(row[name]) for name in ("train_loss", "fine_loss", "coarse_loss"))


def summarize(progress: Progress, diverged: bool, signature: str, attempt: int, engine: Engine) -> Result:
    """The result of a run that ends so, in this attempt."""
    rows, origins = progress.rows, progress.origins
    return Result(
        signature=signature,
        status="diverged" if diverged else "completed",
        reason=f"a loss became NaN or infinite in epoch {rows[-1]['epoch']}" if diverged else None,
        **outcome(rows),
        first_attempt=progress.first_attempt,
        attempts=attempt,
        device=device_name(engine.device),
        engine=engine.describe(),
        commit=provenance()["commit"],
        dirty=_any(one["dirty"] for one in origins),
        changed_midway=[key for key in ("commit", "torch", "device") if len({one.get(key) for one in origins}) > 1],
        finished=now(),
    )


def _any(known: Iterable[bool | None]) -> bool | None:
    """Whether any is true; None where that is not known."""
    values = list(known)
    return True if True in values else None if None in values else False
