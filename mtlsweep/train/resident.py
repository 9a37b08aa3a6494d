"""A data set in the memory of the device that trains on it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.data import Augmentation, Dataset, Split, normalize
from mtlsweep.train.engine import Engine


@dataclass(frozen=True)
class Resident:
    """A data set as uint8 on a device; read only."""

    train: Split
    augmentation: Augmentation
    validation: Split | None
    test: Split
    white: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> "Resident":
        """Move a data set to a device."""
        train = dataset.train.to(device)
        white = torch.tensor(255.0, device=device)
        statistics = (torch.tensor(values, device=device).view(3, 1, 1) for values in (dataset.mean, dataset.std))
        validation = dataset.validation.to(device) if dataset.validation else None
        return cls(train, Augmentation(train.images), validation, dataset.test.to(device), white, *statistics)

    def prepare(self, images: torch.Tensor, engine: Engine) -> torch.Tensor:
        """uint8 images -> what the network takes."""
        return normalize(images, self.white, self.mean, self.std).contiguous(memory_format=engine.memory_format)


def resident(settings: dict[str, Any], device: torch.device) -> Resident:
    """The data set of a run's settings on a device. The last one is kept, so that the runs of a sweep share it.

    Raises:
        UserError: files are missing or damaged, or the sizes asked for do not fit the data.
    """
    return _resident(tuple(settings.items()), device)


@lru_cache(maxsize=1)
def _resident(settings: tuple[tuple[str, Any], ...], device: torch.device) -> Resident:
    made = Resident.of(data.load(DataConfig(**dict(settings))), device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # runs that share it have streams of their own
    return made
