"""Everything a run needs to go on from the end of an epoch as if it had never stopped.

No generator's state is among it: every random number is drawn from a stream of its own epoch (`mtlsweep.randomness`).
"""

import pickle
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import nn

from mtlsweep.runs import RunDirectory
from mtlsweep.train.epoch import Trainer

NAME = "checkpoint.pt"

# What every module has; the rest of its `__dict__` is its author's.
_OF_EVERY_MODULE = set(vars(nn.Module()))


@dataclass
class Progress:
    """How far a run has come: its metrics, one row an epoch, and the choices of engine that it began with."""

    rows: list[dict[str, Any]]
    engine: dict[str, Any]


def save(file: BinaryIO, trainer: Trainer, progress: Progress) -> None:
    """Write a checkpoint."""
    torch.save(
        {
            "model": trainer.model.state_dict(),
            "strategy": trainer.strategy.state_dict(),
            "attributes": _attributes(trainer.strategy),
            "optimizer": trainer.optimizer.state_dict(),
            "progress": vars(progress),
        },
        file,
    )


def read(directory: RunDirectory, device: torch.device) -> dict[str, Any] | None:
    """The run's checkpoint; None where there is none. It is this program's own file and holds Python objects: it is unpickled.

    Raises:
        ValueError: the file is damaged.
    """
    if not (directory / NAME).exists():
        return None
    try:
        return torch.load(directory / NAME, map_location=device, weights_only=False)
    except Exception as error:  # of many types, by where the file is cut
        raise ValueError(f"{directory / NAME} is damaged ({type(error).__name__})") from error


def restore(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Put a checkpoint's state into a freshly built trainer."""
    trainer.model.load_state_dict(checkpoint["model"])
    trainer.strategy.load_state_dict(checkpoint["strategy"])
    trainer.optimizer.load_state_dict(checkpoint["optimizer"])
    modules = dict(trainer.strategy.named_modules())
    for (module, name), value in checkpoint["attributes"].items():
        setattr(modules[module], name, value)


def unsaved(strategy: nn.Module) -> list[str]:
    """Attributes of a strategy that a checkpoint cannot hold; a resumed run starts with those that its `__init__` makes."""
    return [name for (_, name), value in _own_attributes(strategy).items() if not _can_be_saved(value)]


def _attributes(strategy: nn.Module) -> dict[tuple[str, str], Any]:
    # A strategy written for the benchmark may keep its state in plain attributes (a list of past losses, say), not in buffers.
    return {key: value for key, value in _own_attributes(strategy).items() if _can_be_saved(value)}


def _own_attributes(strategy: nn.Module) -> dict[tuple[str, str], Any]:
    return {
        (path, name): value
        for path, module in strategy.named_modules()
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE
    }


def _can_be_saved(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
