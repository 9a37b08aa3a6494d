"""Crop, flip and normalisation of a mini-batch: ours, torchvision's on PIL images, and our share of a training step."""

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import default_collate

from benchmarks import plain, subjects
from benchmarks.section import Layout, Section, times
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Subject, measure

OURS, PIL = "ours", "torchvision on PIL images"
# Batches of ours in a round, which would be too short for the clock otherwise.
REPEATS = 20
TARGET = "target: ours under 0.02 of the equal-weight step"


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture."""
    for network, plan in setting.each():
        step = f"equal-weight step, {network}"
        ours = Ours(network, setting.device, setting.batch)
        compared = {
            PIL: _pil(setting.batch),
            OURS: Subject(ours.augmentation().prepare, plan.steps if setting.quick else REPEATS),
            step: ours.training(),
        }
        comparison = measure(compared, plan, setting.device)
        title = f"Augmentation of a mini-batch of {setting.batch}, {network}"
        yield times(title, comparison, Layout([PIL, step], step="a batch", images=setting.batch), [TARGET])


def _pil(batch: int) -> Subject:
    def prepare(steps: int) -> Callable[[], object]:
        images = subjects.dataset(steps * batch)
        pil_images = plain.PILImages(images.train, plain.pil_transforms(images))

        def augment() -> list[torch.Tensor]:
            starts = range(0, len(pil_images), batch)
            return [default_collate([pil_images[start + place] for place in range(batch)])[0] for start in starts]

        return augment

    return Subject(prepare)
