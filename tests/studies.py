"""Run directories for the tests of what reads them: cells, outcomes, and a study with everything in it that a table must cope with."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mtlsweep.runs import METRICS, Cell, Claim, Result, RunDirectory, SweepRecord
from mtlsweep.runs import owner as owners

MODELS = ("resnet20", "resnet56", "vgg16bn")
SEEDS = (42, 123, 456)

# True gain over fine_only in points. The two variants of haw are one strategy; atwhc collapses.
GAINS = {
    "fine_only": 0.0, "equal": -1.0, "haw": 0.3, "haw[beta=3]": 0.1, "uncertainty": -2.0, "dwa": -0.5, "pcgrad": 1.5, "atwhc": -40.0
}  # fmt: skip


def make_cell(study: Path, model: str = "resnet20", loss: str = "equal", seed: int = 42, **changes: Any) -> Cell:
    """A cell as a launcher makes it; `changes` by dotted key with a double underscore, e.g. `loss__beta=3.0`."""
    settings: dict[str, Any] = {
        "study": study.name, "runs_dir": str(study.parent), "seed": seed, "save": "none", "rerun": "none", "dry_run": False,
        "checkpoint_seconds": 10.0,
        "model": {"_target_": "mtlsweep.models.resnet", "name": model},
        "loss": {"_target_": f"mtlsweep.losses.{loss}"} | ({"beta": 2.0} if loss == "haw" else {}),
        "curriculum": {"_target_": "mtlsweep.curriculum.Constant", "value": 1.0},
        "schedule": {"epochs": 3, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005},
        "data": {"name": "synthetic", "root": "data", "download": True, "seed": 0, "train_size": 1000, "test_size": None, "validation": 0},
        "engine": {"device": "auto", "precision": "auto", "channels_last": None, "threads": None},
    }  # fmt: skip
    options = {"model": model, "loss": loss, "curriculum": "none", "schedule": "smoke", "data": "synthetic", "engine": "auto"}
    variant: dict[str, Any] = {}
    for key, value in changes.items():
        group, _, name = key.partition("__")
        if name == "option":
            options[group] = value
        elif name:
            settings[group][name] = value
            variant |= {f"{group}.{name}": value} if group in ("model", "loss", "curriculum") else {}
    return Cell(settings, options, variant, (f"model={model}", f"loss={loss}", f"seed={seed}"))


def prepare(cell: Cell) -> RunDirectory:
    directory = RunDirectory(cell.directory)
    directory.prepare(cell)
    return directory


def complete(cell: Cell, best: float | None, last: float | None, **changes: Any) -> Path:
    result = Result(
        signature=cell.signature, status="completed", reason=None, epochs=3, best_fine_acc=best, best_epoch=2, last_fine_acc=last,
        last_coarse_acc=50.0, coarse_acc_at_best=51.0, selected_epoch=None, selected_val_acc=None, selected_fine_acc=None, fine_weight=1.0,
        coarse_weight=0.5, conflict_rate=None, cosine=None, seconds=12.5, attempts=1, device="cpu", engine={"precision": "fp32"},
        commit="a" * 40, dirty=False, finished="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    with Claim(prepare(cell)) as claim:
        claim.write_result(replace(result, **changes))
    return cell.directory


def fail(cell: Cell, message: str) -> Path:
    with pytest.raises(RuntimeError), Claim(prepare(cell)):
        raise RuntimeError(message)
    return cell.directory


def interrupt(cell: Cell) -> Path:
    """An attempt whose process was killed: its record names a process that is gone."""
    directory = prepare(cell)
    owner = owners.Owner.here()
    record = {"owner": vars(replace(owner, started=owner.started - 1000.0, ticks=0)), "provenance": {}, "started": ""}
    directory.attempt_file(1).write_text(json.dumps(record))
    return cell.directory


def log_epochs(directory: Path, accuracies: list[float], conflict: float | None = None) -> None:
    """The `metrics.csv` of a finished run, with these fine test accuracies, coarse weights that fade to 0, and 4 seconds an epoch."""
    rows: list[dict[str, Any]] = [
        {"epoch": epoch, "test_fine_acc": accuracy, "fine_weight": 1.0, "coarse_weight": 1 - epoch / len(accuracies)}
        | {"test_coarse_acc": 50.0, "seconds": 4.0, "device_seconds": 4.0, "conflict_rate": conflict}
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    lines = [",".join("" if row.get(name) is None else f"{row[name]}" for name in METRICS) for row in rows]
    (directory / "metrics.csv").write_text("\n".join([",".join(METRICS), *lines]) + "\n")


class Grid:
    """Three architectures x eight strategies x three seeds under one setting, some of them not completed, and runs of another schedule.

    Attributes:
        best, last: what completed runs of the main setting reached, by architecture, strategy and seed; percent.
        hours: their device-hours.
        broken: paths that cannot be read.
    """

    def __init__(self, study: Path) -> None:
        self.study = study
        self.best: dict[tuple[str, str, int], float] = {}
        self.last: dict[tuple[str, str, int], float] = {}
        self.hours: dict[tuple[str, str, int], float] = {}
        for model, label, seed in self._cells():
            self._outcome(model, label, seed)
        for seed in SEEDS:
            complete(make_cell(study, "resnet20", "equal", seed, schedule__option="long", schedule__epochs=6), 55.0, 54.0)
        self.broken = self._break()

    def values(self, model: str, label: str) -> dict[int, float]:
        """Best accuracies by seed."""
        return {seed: value for (*key, seed), value in self.best.items() if key == [model, label]}

    def cell(self, model: str, label: str, seed: int) -> Cell:
        """A cell of the main setting."""
        loss, changed, _ = label.partition("[")
        return make_cell(self.study, model, loss, seed, **({"loss__beta": 3.0} if changed else {}))

    def _cells(self) -> Iterator[tuple[str, str, int]]:
        yield from ((model, label, seed) for model in MODELS for label in GAINS for seed in SEEDS)

    def _outcome(self, model: str, label: str, seed: int) -> None:
        cell = self.cell(model, label, seed)
        match model, label, seed:
            case "resnet56", "equal", 42:
                fail(cell, "CUDA out of memory\ntried to allocate")
            case "resnet56", "uncertainty", _:
                complete(cell, 3.0, None, status="diverged", reason="fine loss is nan in epoch 2")
            case "vgg16bn", "dwa", 123:
                interrupt(cell)
            case "vgg16bn", "dwa", 456:
                SweepRecord.write(self.study / ".sweeps" / "1", [cell])
            case _:
                self._complete(model, label, seed)

    def _complete(self, model: str, label: str, seed: int) -> None:
        shared, own = Random(f"{model} {seed}"), Random(f"{model} {label} {seed}")
        best = round(60 + 4 * MODELS.index(model) + shared.gauss(0, 0.4) + GAINS[label] + own.gauss(0, 0.15), 2)
        key = (model, label, seed)
        self.best[key], self.last[key], self.hours[key] = best, round(best - own.uniform(0, 0.5), 2), own.uniform(0.5, 2.0)
        conflict = 0.25 if label == "pcgrad" else None
        path = complete(self.cell(*key), best, self.last[key], seconds=3600 * self.hours[key], conflict_rate=conflict)
        log_epochs(path, [best - 20, best, self.last[key]], conflict)

    def _break(self) -> list[Path]:
        folder = self.study / "broken" / "by" / "hand"
        contents = {"0": "{ half", "1": json.dumps({"schema": 99}), "2": json.dumps({"schema": 1}), "3": "[]"}
        for name, content in contents.items():
            (folder / name).mkdir(parents=True)
            (folder / name / "run.json").write_text(content)
        (folder / "4").mkdir()
        (folder / "4" / "result.json").write_text("{}")  # somebody else's
        (self.study / ".sweeps" / "2").mkdir(parents=True)
        (self.study / ".sweeps" / "2" / "cells-0.json").write_text("{ half")
        return [*(folder / name for name in (*contents, "4")), self.study / ".sweeps" / "2" / "cells-0.json"]
