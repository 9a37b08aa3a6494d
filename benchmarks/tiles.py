"""`python -m benchmarks.tiles`: the kernels of a ResNet's layers with other tiles than theirs, and which are the fastest on this GPU.

What `mtlsweep.train.kernels.few_channels` has in its tables was found so. Nothing chooses tiles by itself: they decide in which order sums
are made, and two runs of a seed must give the same numbers. Every candidate is compiled in one of several processes, into Triton's cache
on disk, then timed in this one: `LAUNCHES` launches recorded as a CUDA graph, one after another as in a step.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby, product
from multiprocessing import get_context
from os import sched_getaffinity
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from benchmarks import machine
from benchmarks.section import Row, Section
from mtlsweep.errors import summary
from mtlsweep.train.trunk import Forward, Slopes

LAUNCHES, REPLAYS, ROUNDS = 20, 5, 5
# Layers of a ResNet: channels in and out, size of what comes in, stride.
LAYERS = [(3, 16, 32, 1), (16, 16, 32, 1), (16, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2), (64, 64, 8, 1)]
# What a kind of launch is tried with. More warps than a tile has sixteens of rows have nothing to do.
CONVOLUTION = {"BLOCK_M": (64, 128, 256, 512), "num_warps": (4, 8), "num_stages": (1, 3, 5)}
TRIED: Mapping[str, Mapping[str, Sequence[int]]] = {
    "convolve": CONVOLUTION,
    "input_gradient": CONVOLUTION,
    "weight_gradient": {"BLOCK_M": (64, 128), "CHUNK": (256, 512, 1024, 2048), "num_warps": (4, 8), "num_stages": (2, 3, 4)},
}
ROWS_OF_A_WARP = 16
# Less is noise.
FASTER = 0.97
# That compile, each with a context on the GPU.
MOST_PROCESSES = 16

Tiles = dict[str, int]


class Candidate(NamedTuple):
    """A layer's launch with some tiles.

    Attributes:
        kind: of `few_channels.TILES`.
        layer: of `LAYERS`.
        tiles: those that are changed; none of them: the tables' own.
    """

    kind: str
    layer: tuple[int, int, int, int]
    tiles: Tiles


def candidates(layers: Sequence[tuple[int, int, int, int]] = LAYERS) -> list[Candidate]:
    """All that are tried, the tables' own first."""
    found = []
    for layer, (kind, tried) in product(layers, TRIED.items()):
        if kind == "input_gradient" and layer[0] == 3:
            continue  # nothing differentiates by the data's pixels
        every = (dict(zip(tried, values, strict=True)) for values in product(*tried.values()))
        kept = [tiles for tiles in every if tiles["BLOCK_M"] >= ROWS_OF_A_WARP * tiles["num_warps"]]
        found += [Candidate(kind, layer, tiles) for tiles in ({}, *kept)]
    return found


@contextmanager
def using(candidate: Candidate) -> Iterator[None]:
    """The tables with a candidate's tiles in them."""
    from mtlsweep.train.kernels.few_channels import TILES_BY_CHANNELS  # loads Triton

    place = (candidate.kind, *candidate.layer[:2])
    before = TILES_BY_CHANNELS.get(place)
    TILES_BY_CHANNELS[place] = (before or {}) | candidate.tiles
    try:
        yield
    finally:
        if before is None:
            del TILES_BY_CHANNELS[place]
        else:
            TILES_BY_CHANNELS[place] = before


def launcher(candidate: Candidate, batch: int, device: torch.device, precision: torch.dtype) -> Callable[[], object]:
    """What launches the candidate's kernel on random numbers, within `using`."""
    from mtlsweep.train.kernels import few_channels, fused_backward, fused_forward, weight_sums

    inputs, outputs, size, stride = candidate.layer
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False).to(device).to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(outputs).to(device)
    weights = layer.weight.detach()

    def images(channels: int, size: int) -> torch.Tensor:
        numbers = torch.randn(batch, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
        return numbers if channels == 3 else numbers.to(precision)  # the data's are fp32

    given, arrives = images(inputs, size), images(outputs, size // stride)
    ticket = torch.zeros(1, dtype=torch.int32, device=device)
    if candidate.kind == "convolve":
        return lambda: fused_forward.convolve(given, layer, norm, precision, ticket)
    if candidate.kind == "weight_gradient":  # with the sum of the parts, of which there are fewer the more a program adds up
        summed = weight_sums.Summed(few_channels.parts_of(inputs, arrives), weights.numel(), 0)
        parts, result = torch.empty(1, summed.number * summed.size, device=device), torch.empty(1, summed.size, device=device)
        planned = weight_sums.plan([summed], device)

        def launch() -> None:
            few_channels.weight_gradient_parts(given, arrives, stride, parts)
            weight_sums.add(parts, planned, result)

        return launch
    made = Forward(images(inputs, size), torch.rand(3, inputs, device=device), given)
    slopes = Slopes(torch.empty(1, 2, inputs, device=device), *torch.empty(2, 1, inputs, device=device))
    return lambda: fused_backward.enter(arrives, weights, stride, None, made, slopes, ticket)


def compiled(candidate: Candidate, batch: int) -> str | None:
    """Compile a candidate into Triton's cache, and execute it once; in a line why that fails, if it does."""
    try:
        with using(candidate), torch.no_grad():
            launcher(candidate, batch, torch.device("cuda"), torch.bfloat16)()
            torch.cuda.synchronize()
    except Exception as error:  # of many kinds: registers, shared memory, a compiler
        return summary(error)
    return None


class Timed:
    """A candidate's launches as a CUDA graph, and how long one of them took each time that it was asked."""

    def __init__(self, candidate: Candidate, batch: int) -> None:
        self.times: list[float] = []
        with using(candidate), torch.no_grad():
            launch = launcher(candidate, batch, torch.device("cuda"), torch.bfloat16)
            launch()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                for _ in range(LAUNCHES):
                    launch()
        self._graph.replay()

    def measure(self) -> None:
        """Once more."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._graph.replay()  # the device is busy when the others are asked for
        start.record()
        for _ in range(REPLAYS):
            self._graph.replay()
        end.record()
        end.synchronize()
        self.times.append(1000 * start.elapsed_time(end) / LAUNCHES / REPLAYS)

    @property
    def microseconds(self) -> float:
        """Of one launch: the median."""
        return median(self.times)


def contest(tried: Sequence[Candidate], batch: int) -> dict[int, float]:
    """Microseconds of the candidates of one layer and kind, by their place. The first ones, their own, and the fastest of the others are
    timed again in turns: the smallest of many is small by chance."""
    timed = {}
    for place, candidate in enumerate(tried):
        timed[place] = Timed(candidate, batch)
        for _ in range(ROUNDS):
            timed[place].measure()
    found = {place: one.microseconds for place, one in timed.items()}
    last = {place: timed[place] for place in {0, min(found, key=found.__getitem__)}}
    for one in last.values():
        one.times.clear()
    for one in [*last.values()] * ROUNDS:
        one.measure()
    return found | {place: one.microseconds for place, one in last.items()}


def section(tried: Sequence[Candidate], reasons: Sequence[str | None], batch: int) -> Section:
    """The table: a row for each layer and kind whose own tiles can be executed.

    Args:
        tried: all candidates, those of a layer and kind one after another.
        reasons: why each could not be executed; None: it could.
        batch: images.
    """
    rows, remarks = [], [f"of {len(tried)} candidates {sum(reason is not None for reason in reasons)} could not be executed"]
    for (kind, layer), group in groupby(zip(tried, reasons, strict=True), key=lambda pair: pair[0][:2]):
        pairs = list(group)
        fault, work = pairs[0][1], [candidate for candidate, reason in pairs if reason is None]
        if fault is None:
            try:
                rows.append(_row(work, contest(work, batch)))
            except Exception as error:  # of many kinds: the rest is measured all the same
                fault = summary(error)
        if fault is not None:
            remarks.append(f"{kind} {layer}, its own: {fault}")
    return Section("Tiles", rows, remarks)


def _row(tried: Sequence[Candidate], times: Mapping[int, float]) -> Row:
    best = min(times, key=times.__getitem__)
    better = times[best] < FASTER * times[0]
    return {
        "kind": tried[0].kind,
        "in, out, size, stride": ", ".join(map(str, tried[0].layer)),
        "us": f"{times[0]:.2f}",
        "us, fastest": f"{times[best]:.2f}",
        "with": ", ".join(f"{name}={value}" for name, value in tried[best].tiles.items()) if better else "its own",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0; 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiles", description=__doc__)
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="images (default: 128)")
    batch = parser.parse_args(arguments).batch
    if not torch.cuda.is_available():
        print("error: torch finds no GPU here", file=sys.stderr)
        return 2
    print(machine.sentence(machine.describe(torch.device("cuda"))), flush=True)
    tried = candidates()
    with ProcessPoolExecutor(min(MOST_PROCESSES, len(sched_getaffinity(0))), get_context("spawn")) as pool:
        reasons = list(pool.map(compiled, tried, [batch] * len(tried), chunksize=4))
    print(f"\n{section(tried, reasons, batch).markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
