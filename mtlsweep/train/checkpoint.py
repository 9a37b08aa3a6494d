"""Everything a run needs to go on from the end of an epoch as if it had never stopped.

No generator's state is among it: every random number is drawn from a stream of its own epoch (`mtlsweep.randomness`).
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import torch
from torch import nn

from mtlsweep.losses import Strategy
from mtlsweep.losses.base import OF_THE_ENGINE
from mtlsweep.runs import RunDirectory
from mtlsweep.train.epoch import Trainer

NAME = "checkpoint.pt"
KEYS = {"model", "strategy", "optimizer", "progress"}

# What every module has and its author does not use for state; parameters and buffers are kept with the author's own attributes.
_OF_EVERY_MODULE = set(vars(nn.Module())) - {"_parameters", "_buffers"}


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        rows: its metrics, one row an epoch.
        engine: the choices that it began with.
        origins: what code, torch and device made the rows (`provenance.origin`), once each.
        first_attempt: that began with the first epoch; earlier versions did not record it.
    """

    rows: list[dict[str, Any]]
    engine: dict[str, Any]
    origins: list[dict[str, Any]] = field(default_factory=list)
    first_attempt: int = 1

    @classmethod
    def of(cls, checkpoint: dict[str, Any]) -> "Progress":
        """That of a checkpoint; those of an earlier version say no more than whether their code was changed."""
        kept: dict[str, Any] = dict(checkpoint["progress"])
        if "origins" not in kept:
            kept["origins"] = [{"dirty": kept.pop("dirty", None)}]
        return cls(**kept)

    def count_in(self, origin: dict[str, Any]) -> None:
        """An attempt goes on from here."""
        if origin not in self.origins:
            self.origins.append(origin)


def save(file: BinaryIO, trainer: Trainer, progress: Progress) -> None:
    """Write a checkpoint. Only for a strategy of which nothing is `unsaved`."""
    state = {
        "model": trainer.model.state_dict(),
        "strategy": _attributes(trainer.strategy),
        "optimizer": trainer.optimizer.state_dict(),
        "progress": vars(progress),
    }
    torch.save(state, file)


def read(directory: RunDirectory, device: torch.device) -> dict[str, Any] | None:
    """The run's checkpoint; None where there is none. It is this program's own file and holds Python objects: it is unpickled.

    Raises:
        ValueError: the file is damaged.
        OSError, MemoryError, torch.OutOfMemoryError: it cannot be read now, which says nothing about the file.
    """
    if not (directory / NAME).exists():
        return None
    content = (directory / NAME).read_bytes()  # apart from what it means: a file that is cut may end in an OSError too
    try:
        state = torch.load(io.BytesIO(content), map_location=partial(_place, device), weights_only=False)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of many types, by where the file is cut
        raise ValueError(f"{directory / NAME} is damaged ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.keys() != KEYS:
        raise ValueError(f"{directory / NAME} is damaged (it is not a checkpoint of this version)")
    return state


def _place(device: torch.device, storage: Any, where: str) -> Any:
    """Tensors that were on a GPU go to this run's, which may have another number or be none; all others are the processor's."""
    return storage if "cpu" in (device.type, where) else storage.cuda(device.index)


def restore_strategy(strategy: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Give a freshly built strategy the state of a checkpoint, its parameters included: before an optimizer refers to them.

    A strategy written for the benchmark may keep its state anywhere: in buffers that it registers late, in a list of past losses, in a list
    that holds one of its parameters. All of it is kept in one pickle, so that what was one object is one again.
    """
    modules = dict(strategy.named_modules())
    for path, attributes in checkpoint["strategy"].items():
        modules[path].__dict__.update(attributes)


def restore(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Put the rest of a checkpoint's state into a freshly built trainer."""
    trainer.model.load_state_dict(checkpoint["model"])
    trainer.optimizer.load_state_dict(checkpoint["optimizer"])


def parts(strategy: nn.Module) -> frozenset[str]:
    """Names of a strategy's modules and parameters."""
    return frozenset(name for named in (strategy.named_modules(), strategy.named_parameters()) for name, _ in named)


def unsaved(strategy: nn.Module, built: frozenset[str]) -> list[str]:
    """Names of a strategy's attributes that a checkpoint cannot hold. A run continued without them might end with other numbers.

    Args:
        strategy: in training.
        built: its `parts` when it had just been built. A module that was added later would not be there to be restored, and a parameter
            would become the optimizer's.
    """
    added = sorted(parts(strategy) ^ built)
    every = [item for attributes in _attributes(strategy).values() for item in attributes.items()]
    return added or [name for name, value in every if not _can_be_saved(value)]


def _attributes(strategy: nn.Module) -> dict[str, dict[str, Any]]:
    return {path: dict(_state(module)) for path, module in strategy.named_modules()}


def _state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        of_the_engine = name in OF_THE_ENGINE and isinstance(module, Strategy)
        if name not in _OF_EVERY_MODULE and not of_the_engine:
            yield name, value


def _can_be_saved(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
