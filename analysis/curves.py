"""What happened in the epochs of runs, one row each: accuracy, effective weights, conflicts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mtlsweep.runs import METRICS

# What is read of `metrics.csv`, beside the epoch.
CURVES = ("test_fine_acc", "fine_weight", "coarse_weight", "conflict_rate")

# The first few files that cannot be read tell enough.
_MAX_PROBLEMS = 10


def curves(runs: pd.DataFrame, study: Path) -> pd.DataFrame:
    """The epochs of some runs of a study, with each run's `loss_key`, `model_key` and `seed`; columns `epoch` and `CURVES`.

    What is missing or damaged is named on standard error and left out; of a results CSV there are no epochs.
    """
    problems: list[str] = []
    found = list(_read_all(runs, study, problems)) if study.is_dir() else []
    more = [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
    for line in [*problems[:_MAX_PROBLEMS], *more]:
        print(f"analysis: skipped {line}", file=sys.stderr)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["epoch", *CURVES, "loss_key", "model_key", "seed"])


def _read_all(runs: pd.DataFrame, study: Path, problems: list[str]) -> Iterator[pd.DataFrame]:
    for path, loss, model, seed in zip(runs["path"], runs["loss_key"], runs["model_key"], runs["seed"], strict=True):
        file = study / path / "metrics.csv"
        try:
            read = pd.read_csv(file, usecols=["epoch", *CURVES], dtype=dict.fromkeys(METRICS, "float64"))
        except OSError as error:
            problems.append(f"{file}: {error.strerror}")
        except ValueError as error:
            problems.append(f"{file}: damaged ({error})")
        else:
            yield read.assign(loss_key=loss, model_key=model, seed=seed)
