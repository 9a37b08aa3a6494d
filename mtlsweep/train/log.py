"""The benchmark's log lines (MLS-Bench, cv-multitask-loss): what its parser reads."""

from typing import Any

# One line per so many epochs, and one at the end.
EVERY = 10


def train_line(row: dict[str, Any], next_lr: float) -> str:
    """An epoch's line; `next_lr` is the learning rate after the scheduler's step."""
    losses = f"train_loss={row['train_loss']:.4f} train_acc={row['train_acc']:.2f}"
    return f"TRAIN_METRICS: epoch={row['epoch']} {losses} test_acc={row['test_fine_acc']:.2f} lr={next_lr:.6f}"


def final_line(options: dict[str, str], result: dict[str, Any]) -> str:
    """A run's last line: its best fine test accuracy, percent."""
    name = f"{options['model']}-{options['data']}mt"
    if result["status"] == "diverged":
        return f"diverged: {result['reason']}; best so far test_acc_{name}={result['best_fine_acc']:.2f}"
    return f"Final metrics ({name}): test_acc_{name}={result['best_fine_acc']:.2f}"
