"""Loads the data set a configuration asks for: subset, validation part and all."""

from functools import lru_cache
from pathlib import Path

from mtlsweep.config import DataConfig
from mtlsweep.data import cifar100, synthetic
from mtlsweep.data.dataset import Dataset, Split, balanced_order
from mtlsweep.errors import UserError
from mtlsweep.randomness import stream


def load(config: DataConfig) -> Dataset:
    """The data set of this configuration, in host memory. The last one is kept, so that the cells of a sweep share it.

    Raises:
        UserError: files are missing or damaged, or the sizes asked for do not fit the data.
    """
    sizes = (config.train_size, config.test_size, config.validation)
    return _load(config.name, str(Path(config.root).expanduser().resolve()), config.download, config.seed, *sizes)


@lru_cache(maxsize=1)
def _load(name: str, root: str, download: bool, seed: int, train_size: int | None, test_size: int | None, validation: int) -> Dataset:
    if name == "synthetic":
        train, test = synthetic.generate(seed, train_size, test_size)
        mean, std = synthetic.MEAN, synthetic.STD
    else:
        train, test = cifar100.read(Path(root), download)
        mean, std = cifar100.MEAN, cifar100.STD
    train = _subset(train, train_size, seed, "train")
    test = _subset(test, test_size, seed, "test")
    train, held_out = _hold_out(train, validation, seed)
    return Dataset(train, held_out, test, mean, std)


def _subset(split: Split, size: int | None, seed: int, which: str) -> Split:
    if size is None or size == len(split):
        return split
    if size > len(split):
        raise UserError(f"data.{which}_size={size}: the {which} set has {len(split)} images")
    return split.take(balanced_order(split.fine.numpy(), stream(seed, f"subset-{which}"))[:size])


def _hold_out(train: Split, size: int, seed: int) -> tuple[Split, Split | None]:
    if not size:
        return train, None
    order = balanced_order(train.fine.numpy(), stream(seed, "validation"))
    return train.take(order[size:]), train.take(order[:size])
