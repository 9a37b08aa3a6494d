"""Run in a process of its own, by `check`: imports an author's file and takes a few steps with it. What it finds goes to a pipe.

The pipe gets a line for each stage that is reached: "ready", "loaded", and a JSON object with the fault, or null.
"""

import inspect
import json
import os
import resource
import sys
from pathlib import Path
from typing import TextIO

import psutil
import torch
from torch import nn

from mtlsweep.errors import UserError, summary
from mtlsweep.losses import GradientStrategy, GramStrategy
from mtlsweep.losses.user import CLASS, faults_named, load, name_of
from mtlsweep.train.network import Batch, Losses, Network
from mtlsweep.train.steps import Moment, ScalarStep, check_finite

# Two steps in a row, so that a graph kept from one to the next is found; and later ones, where fades have begun and ended.
TOTAL_EPOCHS = 200
EPOCHS = (0, 0, 100, 199)


def main() -> None:
    """`python -m mtlsweep.protocol.probe FILE DESCRIPTOR MEMORY`: MEMORY in bytes, beyond what torch has taken."""
    file, descriptor, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with os.fdopen(descriptor, "w") as stages:
        torch.set_num_threads(1)
        _limit_memory(memory)
        _reach(stages, "ready")
        fault = find_fault(file, stages)
        _reach(stages, json.dumps({"fault": fault}))
    os._exit(0)  # whatever threads and exit handlers the file has left


def find_fault(file: Path, stages: TextIO) -> str | None:
    """What is wrong with a file, in one line; None where nothing is."""
    try:
        torch.manual_seed(0)
        strategy = load(str(file))
        _check_class(file, strategy)
        _reach(stages, "loaded")
        with faults_named(strategy):
            _take_steps(strategy)
    except UserError as error:
        return str(error)
    except BaseException as error:  # KeyboardInterrupt too, if the file raises it
        return f"{file.name}: {summary(error)}"
    return None


def _reach(stages: TextIO, line: str) -> None:
    print(line, file=stages, flush=True)


def _limit_memory(memory: int) -> None:
    """Not of the address space, of which torch takes far more than it uses, but of what is written to."""
    used = psutil.Process().memory_info()
    limit = getattr(used, "data", used.vms) + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _check_class(file: Path, strategy: nn.Module) -> None:
    if isinstance(strategy, GramStrategy | GradientStrategy):
        raise UserError(f"{file.name}: {CLASS} combines gradients; the benchmark's interface is forward(...) of the two losses")
    for method in ("on_epoch_end", "after_step"):
        if hasattr(strategy, method):
            raise UserError(f"{file.name}: {CLASS} has {method}, which the benchmark does not call; only forward is")
    try:
        inspect.signature(type(strategy)).bind(num_tasks=2)
    except TypeError as error:
        raise UserError(f"{file.name}: {CLASS}.__init__ must take num_tasks: {error}") from error


class _RandomLosses(Network):
    """In place of a network: losses of the size that they have in training, from a fixed seed."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.reached = {"fine_loss": False, "coarse_loss": False}
        self.last: tuple[torch.Tensor, torch.Tensor] = self._draw()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def losses(self, features: torch.Tensor, batch: Batch) -> Losses:
        self.last = self._draw()
        return Losses(*self.last, torch.zeros(()))

    def note(self) -> None:
        """Note which losses a backward pass has reached."""
        for name, loss in zip(self.reached, self.last, strict=True):
            self.reached[name] |= loss.grad is not None

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        fine, coarse = (torch.rand((), generator=self.generator) + 0.5).mul_(3.0), torch.rand((), generator=self.generator) + 0.5
        return fine.requires_grad_(), coarse.requires_grad_()


def _take_steps(strategy: nn.Module) -> None:
    network = _RandomLosses()
    program = ScalarStep(network, strategy)
    own = {name: parameter for name, parameter in strategy.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.SGD(own.values(), lr=0.1, momentum=0.9, weight_decay=5e-4) if own else None
    nothing = torch.zeros(0)
    unreached = dict(own)
    for epoch in EPOCHS:
        metrics = program(Batch(nothing, nothing, nothing), Moment(epoch, TOTAL_EPOCHS, 1.0))
        check_finite(strategy, metrics, f"of epoch {epoch}")
        network.note()
        unreached = {name: parameter for name, parameter in unreached.items() if parameter.grad is None}
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()
    missed = [name for name, reached in network.reached.items() if not reached] + [f"the parameter {name}" for name in unreached]
    if missed:
        raise UserError(f"{name_of(strategy)}: no gradient reaches {missed[0]}, in none of the epochs tried ({_join(sorted(set(EPOCHS)))})")


def _join(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


if __name__ == "__main__":
    main()
