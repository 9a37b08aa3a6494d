"""What the runs of a trial or a submission gave, as the ledger names it: by architecture and seed.

Each run is `path` (relative to the entry), `status`, `best` and `last` (fine test accuracy, percent) and `files`, the hashes of `NAMED`.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mtlsweep.protocol.ledger import digest
from mtlsweep.runs import Cell, RunDirectory, State, progress

# The files of a run that say what it gave.
NAMED = ("run.json", "result.json", "metrics.csv")

Runs = dict[str, dict[str, dict[str, Any]]]


def collect(entry: Path, cells: Sequence[Cell]) -> Runs:
    """The results of runs, all of which have ended."""
    runs: Runs = {}
    for cell in cells:
        found = read_run(entry, cell.directory.absolute().relative_to(entry.absolute()).as_posix())
        runs.setdefault(cell.options["model"], {})[str(cell.settings["seed"])] = found
    return runs


def read_run(entry: Path, relative: str) -> dict[str, Any]:
    """What a ledger says of a run, by its directory's path relative to the entry.

    Raises:
        UserError, LookupError: it has no readable result.
    """
    directory = RunDirectory(entry / relative)
    result = directory.result() or {}
    return {
        "path": relative,
        "status": result["status"],
        "best": result["best_fine_acc"],
        "last": result["last_fine_acc"],
        "files": {name: digest(directory / name) for name in NAMED},
    }


def unfinished(cells: Sequence[Cell]) -> list[str]:
    """A line for each run that has not ended well: which, its state, and the error of a failed one."""
    lines = []
    for cell in cells:
        status = RunDirectory(cell.directory).status()
        if status.state not in (State.completed, State.diverged):
            named = f"{cell.options['model']} seed {cell.settings['seed']}"
            lines.append(f"{named}: {status.state.value}{f': {status.error}' if status.error else ''}")
    return lines


def log_lines(entry: Path, runs: Runs) -> list[str]:
    """The benchmark's lines, below the name of each run."""
    lines = []
    for model, seeds in runs.items():
        for seed, run in seeds.items():
            lines += [f"--- {model}, seed {seed}", *_log_lines(RunDirectory(entry / run["path"]))]
    return lines


def _log_lines(directory: RunDirectory) -> Iterator[str]:
    """Those of `run.log`; of epochs that were done again after an interruption the last. Its last line comes after the result, or never."""
    from mtlsweep.train.log import final_line  # loads torch

    logged = re.findall(r"^\S+ (TRAIN_METRICS: epoch=(\d+) .*)$", (directory / "run.log").read_text(), re.M)
    yield from {epoch: line for line, epoch in logged}.values()
    yield final_line(directory.describe()["options"], directory.result() or {})


def accuracies(seeds: dict[str, dict[str, Any]], measure: str = "best") -> list[float]:
    """The accuracies of an architecture's completed runs, percent."""
    return [run[measure] for run in seeds.values() if run["status"] == "completed"]


def summary(model: str, seeds: dict[str, dict[str, Any]]) -> str:
    """`resnet20 67.10 (n=3)`, and how many diverged."""
    found = accuracies(seeds)
    diverged = len(seeds) - len(found)
    words = ([f"{fmean(found):.2f}"] if found else []) + [f"(n={len(found)}{f', {diverged} diverged' if diverged else ''})"]
    return f"{model} {' '.join(words)}"


def geometric_mean(runs: Runs) -> float | None:
    """Of the architectures' mean best accuracies, percent; None where a run diverged."""
    if any(run["status"] != "completed" for seeds in runs.values() for run in seeds.values()):
        return None
    means = [fmean(accuracies(seeds)) for seeds in runs.values()]
    return float(math.prod(means) ** (1 / len(means)))


def epochs_in_metrics(directory: Path) -> list[tuple[int, float]]:
    """Number and fine test accuracy (percent) of each epoch in a run's `metrics.csv`; none where it cannot be read."""
    try:
        return [(int(row["epoch"]), float(row["test_fine_acc"])) for row in progress.rows(directory)]
    except (ValueError, KeyError, TypeError):
        return []
