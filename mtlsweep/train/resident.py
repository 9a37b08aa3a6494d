"""A data set in the memory of the device that trains on it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch

from mtlsweep import data
from mtlsweep.config import DataConfig
from mtlsweep.data import Augmentation, Dataset, Split, normalize
from mtlsweep.train.engine import Engine
from mtlsweep.train.kernels import memory_ran_out
from mtlsweep.train.network import Batch


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

    def first(self, count: int, engine: Engine) -> Batch:
        """A mini-batch of the first images of the training set, as they are."""
        split = self.train
        return Batch(self.prepare(split.images[:count].permute(0, 3, 1, 2), engine), split.fine[:count], split.coarse[:count])

    def batch(self, indices: torch.Tensor, codes: torch.Tensor, engine: Engine) -> Batch:
        """A mini-batch of the training set, cropped and flipped.

        Args:
            indices: `(B,)`.
            codes: `(3, B)`, see `Augmentation.draw`.
            engine: of the run.
        """
        if engine.channels_last and self.table is not None:
            from mtlsweep.train.kernels.crop_flip import crop_flip  # loads Triton

            return Batch(*crop_flip(self.train, indices, codes, self.table))
        return self.batch_by_torch(indices, codes, engine)

    def batch_by_torch(self, indices: torch.Tensor, codes: torch.Tensor, engine: Engine) -> Batch:
        """The same bits on any device, by a dozen operations."""
        images = self.prepare(self.augmentation.batch(indices, codes), engine)
        return Batch(images, self.train.fine[indices], self.train.coarse[indices])

    @cached_property
    def table(self) -> torch.Tensor | None:
        """What each uint8 value becomes in each channel, `(256, 3)`; None where mini-batches are not made by one kernel: on a CPU, and
        where that does not give the same bits or does not work, of which nothing need be said, for it changes no number."""
        if self.white.device.type != "cuda":
            return None
        values = torch.arange(256, dtype=torch.uint8, device=self.white.device).view(256, 1, 1, 1).expand(256, 3, 1, 1)
        table = normalize(values, self.white, self.mean, self.std).view(256, 3)
        try:
            return table if self._same_by_one_kernel(table) else None
        except Exception as error:  # of many types, where there is no Triton or it fails
            if memory_ran_out(error):
                raise
            return None

    def _same_by_one_kernel(self, table: torch.Tensor) -> bool:
        from mtlsweep.train.kernels.crop_flip import crop_flip  # loads Triton

        indices = torch.arange(min(len(self.train), 2 * 81), device=table.device)
        codes = torch.stack([indices % 9, indices // 9 % 9, indices // 81])  # every crop, flipped and not
        expected = self.augmentation.batch(indices, codes)
        images, fine, coarse = crop_flip(self.train, indices, codes, table)
        same = images.equal(normalize(expected, self.white, self.mean, self.std))
        return same and fine.equal(self.train.fine[indices]) and coarse.equal(self.train.coarse[indices])


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
