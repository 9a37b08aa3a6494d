"""One epoch: training on every image once, evaluation. Only a run's first step, which is checked, is copied to the host meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from mtlsweep import interrupt
from mtlsweep.data import Augmentation, Split
from mtlsweep.errors import summary
from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads
from mtlsweep.randomness import generator, stream
from mtlsweep.train.compilation import CompiledTrunk, compile_trunk
from mtlsweep.train.engine import Engine
from mtlsweep.train.graphs import WARMUP_STEPS, Record, RecordingFailed, Replayer
from mtlsweep.train.lanes import Turns
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment, Outcome, check_first

# Images a forward pass of the evaluation. Larger batches fall out of a CPU's cache.
EVAL_BATCH = {"cpu": 250, "cuda": 2000}


@dataclass
class Trainer:
    """The parts of a run that its epochs work on.

    Attributes:
        compiled: the model's trunk, compiled; None: it is called as it is.
        record: records steps for replay; None: every step is executed by Python.
        say: tells the user a line.
        warm: how many steps have been executed by Python.
    """

    model: TwoHeads
    strategy: nn.Module
    optimizer: torch.optim.Optimizer
    data: Resident
    engine: Engine
    seed: int
    batch_size: int
    compiled: CompiledTrunk | None = None
    record: Record | None = None
    say: Callable[[str], None] = print
    warm: int = field(default=0, init=False)

    def steps_per_epoch(self) -> int:
        """Number of mini-batches, the last, partial one included."""
        return -(-len(self.data.train) // self.batch_size)

    def compile(self) -> None:
        """Compile the trunk, for full mini-batches only.

        Raises:
            Exception: of many types, where there is no compiler or it fails.
        """
        images = self.data.prepare(self.data.train.images[: self.batch_size].permute(0, 3, 1, 2), self.engine)
        self.compiled = compile_trunk(self.model, images, EVAL_BATCH[self.engine.device.type], self.engine.autocast)

    def stop_recording(self, error: Exception) -> None:
        """Execute every step by Python from here on."""
        self.record = None
        self.engine = replace(self.engine, graph=False)
        self.say(f"warning: the steps of this run cannot be recorded as a CUDA graph ({summary(error)}): it goes on without")
        if isinstance(self.strategy, Strategy) and self.strategy.generator is not None:
            # Another with the same numbers to come: in torch 2.11 one that was part of a failed recording cannot be drawn from.
            state = self.strategy.generator.get_state()
            self.strategy.generator = torch.Generator(self.engine.device)
            self.strategy.generator.set_state(state)

    def steps(self, moment: Moment, on_step: Callable[[], None]) -> Turns[torch.Tensor]:
        """One pass over the training set, with a pause after every step.

        Returns the means of `Outcome`'s fields over images (losses, correct) and steps (the rest).
        """
        self.model.train()
        self.strategy.train()
        if isinstance(self.strategy, Strategy):
            self.strategy.generator = generator(self.engine.device, self.seed, "strategy", moment.epoch)
        epoch = _Pass(self, moment)
        for step in range(self.steps_per_epoch()):
            epoch.step(step)
            on_step()
            interrupt.check()
            yield
        yield from self._device_done()
        return epoch.totals

    def evaluate(self, split: Split) -> list[float]:
        """Fine and coarse accuracy, percent."""
        self.model.eval()
        correct = torch.zeros(2, device=self.engine.device)
        size = EVAL_BATCH[self.engine.device.type]
        with torch.no_grad():  # which compiled code knows better than inference_mode
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
        return Network(self.model, self.engine.autocast, self.compiled)

    def _device_done(self) -> Turns[None]:
        """Pauses until a GPU has done what it was asked for: runs that take turns with this one go on meanwhile."""
        if self.engine.device.type == "cuda":
            event = torch.cuda.Event()
            event.record()
            while not event.query():
                time.sleep(5e-5)
                yield


class _Pass:
    """The steps of one epoch, and the sums of what they tell."""

    def __init__(self, trainer: Trainer, moment: Moment) -> None:
        self.trainer = trainer
        self.moment = moment
        self.program = step_program(trainer.network, trainer.strategy)
        count, device = len(trainer.data.train), trainer.engine.device
        self.order = torch.from_numpy(stream(trainer.seed, "order", moment.epoch).permutation(count)).to(device)
        self.codes = Augmentation.draw(count, stream(trainer.seed, "augment", moment.epoch)).to(device)
        self.totals = torch.zeros(len(Outcome._fields), dtype=torch.float64, device=device)
        # Made before the first step: a copy from the host in between would wait for the device.
        self.shares = {size: self._shares(size, count) for size in {min(trainer.batch_size, count), count % trainer.batch_size}}
        self.replayer: Replayer | None = None

    def step(self, step: int) -> None:
        """One step; of a full mini-batch by replay, where there is a way to record and the run is warm."""
        trainer, size = self.trainer, self.trainer.batch_size
        window = slice(step * size, (step + 1) * size)
        indices, codes = self.order[window], self.codes[:, window]
        if trainer.record and trainer.warm >= WARMUP_STEPS and len(indices) == size:
            try:
                self._replay(trainer.record, indices, codes, step)
                return
            except RecordingFailed as error:
                trainer.stop_recording(error)
        outcome = self.execute(indices, codes, step)
        if self.moment.epoch == step == 0:
            check_first(trainer.strategy, outcome)
        trainer.warm += 1

    def _replay(self, record: Record, indices: torch.Tensor, codes: torch.Tensor, step: int) -> None:
        strategy = self.trainer.strategy
        if self.replayer is None:
            self.replayer = Replayer(record, indices, codes, getattr(strategy, "generator", None))
        self.replayer.step(self.execute, indices, codes, step, due=step % getattr(strategy, "refresh", 1) == 0)

    def execute(self, indices: torch.Tensor, codes: torch.Tensor, step: int) -> Outcome:
        """Batch, gradients, optimizer, sums: all on the device."""
        trainer, moment = self.trainer, self.moment._replace(step=step)
        images = trainer.data.prepare(trainer.data.augmentation.batch(indices, codes), trainer.engine)
        batch = Batch(images, trainer.data.train.fine[indices], trainer.data.train.coarse[indices])
        trainer.optimizer.zero_grad()
        outcome = self.program(batch, moment)
        trainer.optimizer.step()
        after_step: Any = getattr(trainer.strategy, "after_step", None)
        if after_step:
            losses = trainer.network.losses_again(batch)
            after_step(torch.stack([losses.fine, moment.coarse_factor * losses.coarse]))
        self.totals += torch.stack(outcome) * self.shares[len(indices)]
        return outcome

    def _shares(self, batch: int, count: int) -> torch.Tensor:
        """What a step adds to the epoch's mean of each field of `Outcome`; `correct` is a count already, and becomes percent."""
        image, step = batch / count, 1 / self.trainer.steps_per_epoch()
        shares = [image, image, image, 100 / count, step, step, step, step]
        return torch.tensor(shares, dtype=torch.float64, device=self.trainer.engine.device)
