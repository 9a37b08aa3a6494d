"""One epoch: training on every image once, evaluation; nothing is copied to the host in between, but for the check of a run's first step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mtlsweep import interrupt
from mtlsweep.data import Augmentation, Dataset, Split, normalize
from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads
from mtlsweep.randomness import generator, stream
from mtlsweep.train.engine import Engine
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment, Outcome, check_first

# Images a forward pass of the evaluation. Larger batches fall out of a CPU's cache.
EVAL_BATCH = {"cpu": 250, "cuda": 2000}


@dataclass(frozen=True)
class Resident:
    """A data set in a device's memory, as uint8."""

    train: Split
    augmentation: Augmentation
    validation: Split | None
    test: Split
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> "Resident":
        """Move a data set to a device."""
        train = dataset.train.to(device)
        statistics = (torch.tensor(values, device=device).view(3, 1, 1) for values in (dataset.mean, dataset.std))
        validation = dataset.validation.to(device) if dataset.validation else None
        return cls(train, Augmentation(train.images), validation, dataset.test.to(device), *statistics)

    def prepare(self, images: torch.Tensor, engine: Engine) -> torch.Tensor:
        """uint8 images -> what the network takes."""
        return normalize(images, self.mean, self.std).contiguous(memory_format=engine.memory_format)


@dataclass
class Trainer:
    """The parts of a run that its epochs work on."""

    model: TwoHeads
    strategy: nn.Module
    optimizer: torch.optim.Optimizer
    data: Resident
    engine: Engine
    seed: int
    batch_size: int

    def steps_per_epoch(self) -> int:
        """Number of mini-batches, the last, partial one included."""
        return -(-len(self.data.train) // self.batch_size)

    def train(self, moment: Moment, on_step: Callable[[], None]) -> torch.Tensor:
        """One pass over the training set. Returns the means of `Outcome`'s fields over images (losses, correct) and steps (the rest)."""
        program = step_program(self.network, self.strategy)
        count = len(self.data.train)
        device = self.engine.device
        order = torch.from_numpy(stream(self.seed, "order", moment.epoch).permutation(count)).to(device)
        codes = Augmentation.draw(count, stream(self.seed, "augment", moment.epoch)).to(device)
        totals = torch.zeros(len(Outcome._fields), dtype=torch.float64, device=device)
        # Made before the first step: a copy from the host in between would wait for the device.
        shares = {size: self._shares(size, count) for size in {min(self.batch_size, count), count % self.batch_size}}
        self.model.train()
        self.strategy.train()
        if isinstance(self.strategy, Strategy):
            self.strategy.generator = generator(device, self.seed, "strategy", moment.epoch)
        for step, start in enumerate(range(0, count, self.batch_size)):
            indices = order[start : start + self.batch_size]
            batch = self._batch(indices, codes[:, start : start + self.batch_size])
            self.optimizer.zero_grad()
            outcome = program(batch, moment._replace(step=step))
            if moment.epoch == step == 0:
                check_first(self.strategy, outcome)
            self.optimizer.step()
            self._after_step(batch, moment)
            totals += torch.stack(outcome) * shares[len(indices)]
            on_step()
            interrupt.check()
        return totals

    def evaluate(self, split: Split) -> list[float]:
        """Fine and coarse accuracy, percent."""
        self.model.eval()
        correct = torch.zeros(2, device=self.engine.device)
        size = EVAL_BATCH[self.engine.device.type]
        with torch.inference_mode():
            for start in range(0, len(split), size):
                window = slice(start, start + size)
                images = split.images[window].permute(0, 3, 1, 2)
                fine, coarse = self.network.logits(self.network.features(self.data.prepare(images, self.engine)))
                correct[0] += (fine.argmax(1) == split.fine[window]).sum()
                correct[1] += (coarse.argmax(1) == split.coarse[window]).sum()
                interrupt.check()
        return [100 * count / len(split) for count in correct.tolist()]

    @property
    def network(self) -> Network:
        """The model in the engine's precision."""
        return Network(self.model, self.engine.autocast)

    def _after_step(self, batch: Batch, moment: Moment) -> None:
        after_step: Any = getattr(self.strategy, "after_step", None)
        if after_step:
            losses = self.network.losses_again(batch)
            after_step(torch.stack([losses.fine, moment.coarse_factor * losses.coarse]))

    def _batch(self, indices: torch.Tensor, codes: torch.Tensor) -> Batch:
        images = self.data.prepare(self.data.augmentation.batch(indices, codes), self.engine)
        return Batch(images, self.data.train.fine[indices], self.data.train.coarse[indices])

    def _shares(self, batch: int, count: int) -> torch.Tensor:
        """What a step adds to the epoch's mean of each field of `Outcome`; `correct` is a count already, and becomes percent."""
        image, step = batch / count, 1 / self.steps_per_epoch()
        return torch.tensor([image, image, image, 100 / count, step, step, step, step], dtype=torch.float64, device=self.engine.device)
