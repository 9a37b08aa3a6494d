"""`python -m benchmarks.walk`: which parameters a walk over the fine loss's graph misses that knows a node by Python's `id`.

The benchmark's published PCGrad finds the parameters so (`mtlsweep.losses.pcgrad`). An `id` is given again when an object is gone, and
torch makes a node's Python object anew when it is asked for and nobody holds it, so that a node may be taken for one that was met before.
What is missed depends on the objects that there were before; so each network is asked in a process of its own, and as in a training script:
on the first mini-batch that a `DataLoader` gives. It needs no more than torch, to be asked of several versions.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from mtlsweep.models import resnet, vgg_bn

NETWORKS = {"resnet20": (resnet, 20), "resnet56": (resnet, 56), "vgg16bn": (vgg_bn, 16)}
IMAGES, BATCH = 64, 32


def main() -> None:
    """A line for each of the benchmark's networks."""
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for name, names in zip(NETWORKS, processes.map(missed, NETWORKS), strict=True):
            print(f"{name}: not found: {', '.join(names)}", flush=True)


def missed(network: str) -> list[str]:
    """The names of the parameters that are not found from the fine loss; all of the coarse head's are among them."""
    make, depth = NETWORKS[network]
    model = make(depth)
    data = TensorDataset(torch.randn(IMAGES, 3, 32, 32), torch.arange(IMAGES))
    images, labels = next(iter(DataLoader(data, BATCH, shuffle=True, num_workers=2)))
    fine, _ = model(images)
    found: list[int] = []
    _walk(cross_entropy(fine, labels).grad_fn, set(), found)
    return [name for name, parameter in model.named_parameters() if id(parameter) not in found]


def _walk(node: torch.autograd.graph.Node | None, met: set[int], found: list[int]) -> None:
    for child, _ in node.next_functions if node else ():
        if child is None or id(child) in met:
            continue
        met.add(id(child))
        if isinstance(parameter := getattr(child, "variable", None), nn.Parameter):
            found.append(id(parameter))
        _walk(child, met, found)


if __name__ == "__main__":
    main()
