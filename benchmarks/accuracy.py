"""`python -m benchmarks.accuracy`: whether the engine's speed costs accuracy, on real CIFAR-100, paired over seeds.

The engine's fastest settings (bf16, channels_last, fused) against a loop as plain as tutorials have it, fp32, with the same initial
weights, order, crops and flips for each seed. Of a strategy other than `equal` the plain side is the engine itself in fp32, contiguous and
neither fused nor compiled, and the conflict rate is compared too. Takes from half an hour to hours; what is done is not done again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad

from analysis.statistics import Estimate, estimate
from benchmarks import machine, plain, subjects
from benchmarks.record import Record
from benchmarks.section import Row, Section
from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.data import Augmentation, Dataset
from mtlsweep.randomness import stream
from mtlsweep.train.schedule import learning_rate

RUN = Path(__file__).resolve().parents[1] / "run.py"
FAST = {"precision": "bf16", "channels_last": True, "compile": False, "fused": True}
SLOW = {"precision": "fp32", "channels_last": False, "compile": False, "fused": False}
# The recipe's (`conf/schedule/cosine200.yaml`), in fewer epochs.
SCHEDULE = {"lr": subjects.LR, "batch_size": 128}

# One run's figures by name, percent.
Figures = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and print the table. The exit status: 0."""
    given = _parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    runs = [(_slow(given, seed), _ours(given, seed, "fused", FAST)) for seed in given.seeds]
    record = Record(given.output / "accuracy", machine.describe(torch.device("cpu")), quick=False)
    record.add("accuracy", compare(given, runs))
    print(f"\n{record.markdown()}\n{record.path}.json, {record.path}.md")
    return 0


def compare(given: argparse.Namespace, runs: Sequence[tuple[Figures, Figures]]) -> Section:
    """The table: each seed's figures, and the mean of the differences with its 95 % interval."""
    rows: list[Row] = []
    estimates = {}
    for name in runs[0][1].keys() & runs[0][0].keys():
        pairs = [(slow[name], fast[name]) for slow, fast in runs]
        estimates[name] = estimate([fast - slow for slow, fast in pairs])
        cells = {f"seed {seed}": f"{fast:.2f} - {slow:.2f}" for seed, (slow, fast) in zip(given.seeds, pairs, strict=True)}
        rows.append({"": name} | cells | {"difference": _words(estimates[name])})
    title = f"Fast engine less plain loop, {given.model}, {given.loss}, {given.train} images, {given.epochs} epochs, percent"
    found = {"runs": runs, "seeds": given.seeds, "differences": {name: vars(value) for name, value in estimates.items()}}
    return Section(title, sorted(rows, key=lambda row: row[""]), ["paired over seeds; mean and 95 % interval (Student's t)"], found)


def _words(found: Estimate) -> str:
    interval = "" if found.low is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.mean:+.2f}{interval}, n = {found.n}"


def _slow(given: argparse.Namespace, seed: int) -> Figures:
    if given.loss != "equal":
        return _ours(given, seed, "slow", SLOW)
    kept = given.output / f"plain-{given.model}-{given.train}-{given.epochs}-seed{seed}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_train_plainly(given, seed)))
    return _summary(json.loads(kept.read_text()))


def _ours(given: argparse.Namespace, seed: int, name: str, engine: dict[str, Any]) -> Figures:
    """Of a run of `run.py`, which does nothing if there is one already."""
    study = f"{name}-{given.train}-{given.epochs}"
    settings = {"model": given.model, "loss": given.loss, "seed": seed, "study": study, "runs_dir": str(given.output)}
    settings |= {"schedule": "cosine30", "schedule.epochs": given.epochs, "data.train_size": given.train, "data.root": given.data}
    settings |= {f"engine.{key}": value for key, value in engine.items()} | {
        "engine.device": "cpu",
        "engine.threads": given.threads or "null",
    }
    subprocess.run([sys.executable, RUN, *(f"{key}={value}" for key, value in settings.items())], check=True)
    (metrics,) = (given.output / study / given.model / given.loss).glob(f"*/seed{seed}-*/metrics.csv")
    header, *lines = [line.split(",") for line in metrics.read_text().splitlines()]
    return _summary([dict(zip(header, line, strict=True)) for line in lines])


def _summary(rows: Sequence[dict[str, Any]]) -> Figures:
    fine = [float(row["test_fine_acc"]) for row in rows]
    figures = {"best fine accuracy": max(fine), "last fine accuracy": fine[-1]}
    figures["last coarse accuracy"] = float(rows[-1]["test_coarse_acc"])
    if rows[-1].get("conflict_rate"):
        figures["conflict rate"] = sum(float(row["conflict_rate"]) for row in rows) / len(rows)
    return figures


def _train_plainly(given: argparse.Namespace, seed: int) -> list[dict[str, float]]:
    """Accuracies after each epoch of the recipe, written out: `backward()`, `step()`, fp32."""
    images = data.load(DataConfig(name="cifar100", root=given.data, train_size=given.train))
    model = subjects.network(given.model, seed)
    optimizer = subjects.optimizer(model)
    plain.as_torch_has_it()
    rows = []
    for epoch in range(given.epochs):
        optimizer.param_groups[0]["lr"] = learning_rate(SCHEDULE | {"epochs": given.epochs}, epoch)
        model.train()
        for indices, inputs in _augmented(images, seed, epoch):
            fine_logits, coarse_logits = model(inputs)
            loss = cross_entropy(fine_logits, images.train.fine[indices]) + cross_entropy(coarse_logits, images.train.coarse[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rows.append(_accuracies(model, images))
        print(f"plain, seed {seed}, epoch {epoch + 1}: {rows[-1]}", flush=True)
    return rows


def _augmented(images: Dataset, seed: int, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The epoch's mini-batches, cropped and flipped image by image, as the engine's streams say."""
    count = len(images.train)
    order = torch.from_numpy(stream(seed, "order", epoch).permutation(count))
    codes = Augmentation.draw(count, stream(seed, "augment", epoch))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    padded = pad(images.train.images.permute(0, 3, 1, 2), (4, 4, 4, 4))
    for indices, part in zip(order.split(SCHEDULE["batch_size"]), codes.T.split(SCHEDULE["batch_size"]), strict=True):
        crops = []
        for index, (down, right, flip) in zip(indices.tolist(), part.tolist(), strict=True):
            crop = padded[index, :, down : down + 32, right : right + 32]
            crops.append(crop.flip(2) if flip else crop)
        yield indices, (torch.stack(crops) / 255 - mean) / std


def _accuracies(model: torch.nn.Module, images: Dataset) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        logits = [model(inputs) for inputs in plain.normalized(images.test, images).split(500)]
    labels = (images.test.fine, images.test.coarse)
    right = (torch.cat([pair[head] for pair in logits]).argmax(1) == labels[head] for head in (0, 1))
    fine, coarse = (100 * found.float().mean().item() for found in right)
    return {"test_fine_acc": fine, "test_coarse_acc": coarse}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--data", default="data", metavar="DIR", help="the folder that holds cifar-100-python (default: data)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/accuracy"), metavar="DIR", help="runs and table")
    parser.add_argument("--model", default="resnet20", help="default: resnet20")
    parser.add_argument("--loss", default="equal", help="default: equal")
    parser.add_argument("--train", type=int, default=10_000, metavar="N", help="training images (default: 10,000)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="SEED", help="default: 1 2 3 4 5")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: its own choice)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
