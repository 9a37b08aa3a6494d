"""`python -m benchmarks.conflicts`: whether bf16 sees the conflicts of the two trunk gradients that fp32 sees, on real CIFAR-100.

A network is trained in fp32 with equal weights; in every step the cosine of the two gradients is computed in both precisions, of the same
weights and images. So what differs is the precision alone, and not where two runs have got to.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from benchmarks import machine, plain, subjects
from benchmarks.record import Record
from benchmarks.section import Section
from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.models import TwoHeads

BATCH = 128


class Cosines(NamedTuple):
    """Of one step, in both precisions."""

    fp32: float
    bf16: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print the table. The exit status: 0."""
    given = _parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    found = {seed: list(islice(cosines(given, seed), given.steps)) for seed in given.seeds}
    record = Record(given.output / "conflicts", machine.describe(torch.device("cpu")), quick=False)
    record.add("conflicts", compare(given.model, found))
    print(f"\n{record.markdown()}\n{record.path}.json, {record.path}.md")
    return 0


def compare(model: str, found: dict[int, list[Cosines]]) -> Section:
    """The table: a seed a row, and all together."""
    every = [pair for pairs in found.values() for pair in pairs]
    rows = [_row(f"seed {seed}", pairs) for seed, pairs in found.items()] + [_row("all", every)]
    remarks = ["same weights and images in both precisions; a conflict is a negative cosine"]
    return Section(f"Cosine of the two trunk gradients, {model}, fp32 and bf16", rows, remarks, {"cosines": found})


def _row(name: str, pairs: Sequence[Cosines]) -> dict[str, str]:
    both = torch.tensor(pairs)
    conflicts = (both < 0).float().mean(0) * 100
    return {
        "": name,
        "steps": str(len(pairs)),
        "conflict rate fp32, %": f"{conflicts[0]:.1f}",
        "conflict rate bf16, %": f"{conflicts[1]:.1f}",
        "other sign, %": f"{100 * (both[:, 0].sign() != both[:, 1].sign()).float().mean():.1f}",
        "mean cosine fp32": f"{both[:, 0].mean():.4f}",
        "mean difference": f"{(both[:, 1] - both[:, 0]).mean():+.4f}",
        "largest difference": f"{(both[:, 1] - both[:, 0]).abs().max():.4f}",
    }


def cosines(given: argparse.Namespace, seed: int) -> Iterator[Cosines]:
    """Of every step of a training without end."""
    images = data.load(DataConfig(name="cifar100", root=given.data, train_size=given.train))
    inputs, *labels = plain.tensors(images, torch.device("cpu"))
    torch.manual_seed(seed)
    model = subjects.network(given.model, seed).to(memory_format=torch.channels_last)
    optimizer = subjects.optimizer(model)
    while True:
        for indices in torch.randperm(len(inputs)).split(BATCH)[: len(inputs) // BATCH]:
            batch = plain.crop_and_flip(inputs[indices]).contiguous(memory_format=torch.channels_last)
            fine, coarse = (label[indices] for label in labels)
            exact, rounded = (_cosine(model, batch, fine, coarse, bf16) for bf16 in (False, True))
            yield Cosines(exact, rounded)
            optimizer.zero_grad()
            fine_logits, coarse_logits = model(batch)
            (cross_entropy(fine_logits, fine) + cross_entropy(coarse_logits, coarse)).backward()
            optimizer.step()


def _cosine(model: TwoHeads, batch: torch.Tensor, fine: torch.Tensor, coarse: torch.Tensor, bf16: bool) -> float:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        fine_logits, coarse_logits = model(batch)
    losses = [cross_entropy(fine_logits.float(), fine), cross_entropy(coarse_logits.float(), coarse)]
    parameters = list(model.trunk.parameters())
    gradients = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    of_fine, of_coarse = (torch.cat([part.flatten().double() for part in gradient]) for gradient in gradients)
    return cosine_similarity(of_fine, of_coarse, dim=0).item()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conflicts", description=__doc__)
    parser.add_argument("--data", default="data", metavar="DIR", help="the folder that holds cifar-100-python (default: data)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/conflicts"), metavar="DIR", help="where the table goes")
    parser.add_argument("--model", default="resnet20", help="default: resnet20")
    parser.add_argument("--train", type=int, default=10_000, metavar="N", help="training images (default: 10,000)")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="of each seed (default: 150)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="SEED", help="default: 1 2 3")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: its own choice)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
