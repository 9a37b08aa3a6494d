"""The files of a run directory and what stands in them. This is the only place that says so.

| file | written | content |
|---|---|---|
| `run.json` | once, when first asked for | `Cell.describe()`: options, variant, overrides, study, seed, identity, signature; `schema` |
| `config.yaml` | before each attempt | all settings, resolved |
| `my_loss.py` (its own name) | once | copy of a user's strategy file; this copy is what is executed |
| `attempts/<n>.json` | when a process takes the run | `owner`, `provenance`, `started`; the highest n owns; its mtime is the heartbeat |
| `attempts/<n>.diff` | for a run without a sweep, where the code differs from its commit | how; for sweeps it is `.sweeps/*/code.diff` |
| `status.json` | when an attempt ends without a result | `attempt`, `state` (failed, interrupted), `error`, `traceback`, `time` |
| `metrics.csv` | each epoch | `METRICS` |
| `result.json` | at the end | `Result` |
| `checkpoint.pt` | at epoch ends, deleted at the end | everything needed to go on |
| `best.pt`, `last.pt` | on request (`save`) | the network's `state_dict` and the epoch |
| `run.log` | as it happens | the run's lines |
| `redo` | when a finished run is to be done again, until it is begun | nothing |
| `previous/<k>/` | when a finished run is done again | the earlier result, metrics, status, log and weights |

Accuracies are percent, times seconds, epochs 1-indexed.
"""

from dataclasses import dataclass, field
from typing import Any

# Raised when a reader of today would misread what is written; a directory of another version is refused, never converted in place.
SCHEMA = 1

# One row per epoch.
METRICS = (
    "epoch",
    "lr",  # the epoch's learning rate
    "train_loss",  # what was minimised (for gradient strategies the losses under the weights of each step), mean over images
    "fine_loss",  # cross-entropy of the fine task on augmented training images, mean
    "coarse_loss",  # the same of the coarse task, before the curriculum's factor
    "train_acc",  # fine accuracy on augmented training images, percent
    "val_fine_acc",  # percent; empty without a validation part
    "val_coarse_acc",  # percent; empty without a validation part
    "test_fine_acc",  # percent
    "test_coarse_acc",  # percent
    "fine_weight",  # effective weight of the fine loss: derivative of what was minimised by it, mean over steps
    "coarse_weight",  # the same of the coarse loss, the curriculum's factor included
    "conflict_rate",  # share of steps in which the two trunk gradients had a negative product; empty where they are not known or zero
    "cosine",  # mean cosine of the two trunk gradients; empty as above; with loss.refresh both are those of the last refresh
    "seconds",  # of the epoch, training and evaluation
    "eval_seconds",  # of these, evaluation
    "device_seconds",  # of the epoch, each divided by the number of runs that took turns (lanes)
)

# Columns that hold time and so differ between equal runs.
TIME_COLUMNS = ("seconds", "eval_seconds", "device_seconds")


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        signature: of the run.
        status: "completed", or "diverged": a loss became NaN or infinite. Both are final.
        reason: for a diverged run, where.
        epochs: number of epochs finished.
        best_fine_acc, best_epoch: highest fine test accuracy over the epochs, the benchmark's metric, and its first epoch. Optimistic,
            because the epoch is chosen on the test set.
        last_fine_acc, last_coarse_acc: test accuracies after the last epoch.
        coarse_acc_at_best: coarse test accuracy at `best_epoch`.
        selected_epoch, selected_val_acc, selected_fine_acc: with a validation part, the first epoch of highest fine validation accuracy,
            that accuracy, and the fine *test* accuracy there; else None.
        fine_weight, coarse_weight: effective weights in the last epoch.
        conflict_rate, cosine: mean over the epochs; None where the gradients are not known.
        seconds: sum over the epochs, those before an interruption included, work that was lost by it not.
        attempts: number of the attempt that ended it.
        first_attempt: number of the one that began with the first epoch: those before made another result, or none. Earlier versions did
            not record it.
        device: name of the device of the last attempt.
        engine: what was chosen for every engine setting.
        commit: of the code of the last attempt. None outside a repository.
        dirty: whether the code of any attempt that made one of the epochs differed from its commit, new files included. None: not known.
        finished: time of the end, ISO 8601, UTC.
        device_seconds: as `seconds`, each divided by the number of runs that took turns in the process; None where that was not recorded.
        changed_midway: of "commit", "torch" (its version) and "device" (its name) those that were not the same in all attempts that made
            one of the epochs; `attempts/` has what they were. Earlier versions did not record it.
    """

    signature: str
    status: str
    reason: str | None
    epochs: int
    best_fine_acc: float | None
    best_epoch: int | None
    last_fine_acc: float | None
    last_coarse_acc: float | None
    coarse_acc_at_best: float | None
    selected_epoch: int | None
    selected_val_acc: float | None
    selected_fine_acc: float | None
    fine_weight: float | None
    coarse_weight: float | None
    conflict_rate: float | None
    cosine: float | None
    seconds: float
    attempts: int
    device: str
    engine: dict[str, Any]
    commit: str | None
    dirty: bool | None
    finished: str
    device_seconds: float | None = None
    changed_midway: list[str] = field(default_factory=list)
    first_attempt: int = 1
    schema: int = SCHEMA
