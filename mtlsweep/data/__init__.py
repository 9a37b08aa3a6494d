"""CIFAR-100 and a synthetic stand-in as uint8 tensors in memory, and their augmentation."""

from mtlsweep.data.augment import Augmentation, normalize
from mtlsweep.data.dataset import Dataset, Split
from mtlsweep.data.load import load

__all__ = ["Augmentation", "Dataset", "Split", "load", "normalize"]
