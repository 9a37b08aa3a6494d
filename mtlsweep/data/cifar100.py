"""CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) through torchvision, with its coarse labels."""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mtlsweep.data.dataset import Split
from mtlsweep.errors import UserError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR100

# Channel statistics of the training set, rounded as they are commonly used for CIFAR-100.
MEAN = (0.5071, 0.4867, 0.4408)
STD = (0.2675, 0.2565, 0.2761)

_ADVICE = "put the files of cifar-100-python.tar.gz there, name another folder with data.root=..., or use data=synthetic"


def read(root: Path, download: bool) -> tuple[Split, Split]:
    """Training (50,000) and test (10,000) split from `root/cifar-100-python`, whose md5 sums are checked.

    Args:
        root: the folder that holds `cifar-100-python`.
        download: fetch the files when they are missing or damaged.

    Raises:
        UserError: the files are missing or damaged and could not be fetched.
    """
    return _read_split(root, True, download), _read_split(root, False, download)


def _read_split(root: Path, train: bool, download: bool) -> Split:
    images = _open(root, train, download)
    with open(root / images.base_folder / ("train" if train else "test"), "rb") as file:
        coarse = pickle.load(file, encoding="latin1")["coarse_labels"]
    return Split(torch.from_numpy(images.data), torch.tensor(images.targets), torch.from_numpy(np.asarray(coarse, dtype=np.int64)))


def _open(root: Path, train: bool, download: bool) -> "CIFAR100":
    from torchvision.datasets import CIFAR100  # with all its models: as long to load as torch, and other data do without

    try:
        return CIFAR100(str(root), train=train)
    except RuntimeError:  # what torchvision raises when a file is missing or its md5 is wrong
        found = "damaged (md5 mismatch)" if (root / CIFAR100.base_folder).is_dir() else "not found"
    if not download:
        raise UserError(f"CIFAR-100 {found} in {root}, and data.download is false: {_ADVICE}")
    print(f"CIFAR-100 {found} in {root}: downloading {CIFAR100.url}", flush=True)
    try:
        return CIFAR100(str(root), train=train, download=True)
    except (OSError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"CIFAR-100 {found} in {root}, and the download failed ({reason}): {_ADVICE}") from error
