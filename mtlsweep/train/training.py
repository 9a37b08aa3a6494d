"""The training steps of a run. Only its first one, which is checked, is copied to the host before the epoch's end."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mtlsweep.data import Augmentation
from mtlsweep.losses import Strategy
from mtlsweep.randomness import reseed, stream
from mtlsweep.train.graphs import WARMUP_STEPS, RecordingFailed, Replayer
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment, StepMetrics, check_finite, seen

if TYPE_CHECKING:
    from mtlsweep.train.epoch import Trainer


class Kind(NamedTuple):
    """Steps of one kind do the same to the same memory.

    Attributes:
        full: whether the mini-batch is a full one, not what is left at the epoch's end.
        due: whether the strategy computes its weights anew, or uses those that it has.
    """

    full: bool
    due: bool


class StepBuffers:
    """What steps read and write besides model, strategy and optimizer. It stays where it lies for the whole run, for what was recorded in
    one epoch to be replayed in the others.

    Attributes:
        program: executes a step as far as the gradients.
        order, codes: of the epoch: indices of the images `(N,)`, their augmentation codes `(3, N)`.
        window: positions in both of the mini-batch to come, of recorded steps: `(B,)`.
        coarse_factor: of the curriculum.
        totals: sums over the epoch's steps.
        shares: what a step of so many images adds to them (see `_shares`).
        replayer: of the steps.
        branches: of the strategy's parts (`Strategy.branch`), in the epoch.
        executed: kinds of steps that Python has executed.
        warm: the number of steps that it has.
    """

    def __init__(self, trainer: "Trainer") -> None:
        count, size, device = len(trainer.data.train), trainer.batch_size, trainer.engine.device
        self.program = step_program(trainer.network, trainer.strategy)
        self.order = torch.zeros(count, dtype=torch.int64, device=device)
        self.codes = torch.zeros(3, count, dtype=torch.int64, device=device)
        self.window = torch.zeros(size, dtype=torch.int64, device=device)
        self.coarse_factor = torch.ones((), device=device)
        self.totals = torch.zeros(len(StepMetrics._fields), dtype=torch.float64, device=device)
        self.shares = {batch: _shares(batch, count, trainer).to(device) for batch in {min(size, count), count % size}}
        self.replayer = Replayer(trainer.record) if trainer.record else None
        self.branches: list[Hashable] = []
        self.executed: set[Kind] = set()
        self.warm = 0


class Pass:
    """One pass over the training set, step by step.

    Args:
        trainer: of the run.
        moment: the epoch's.
    """

    def __init__(self, trainer: "Trainer", moment: Moment) -> None:
        self.trainer = trainer
        self.kept = kept = trainer.kept
        kept.coarse_factor.fill_(moment.coarse_factor)
        self.moment = moment._replace(coarse_factor=kept.coarse_factor)
        kept.order.copy_(torch.from_numpy(stream(trainer.seed, "order", moment.epoch).permutation(len(kept.order))))
        kept.codes.copy_(Augmentation.draw(len(kept.order), stream(trainer.seed, "augment", moment.epoch)))
        kept.totals.zero_()
        self._begin_epoch()
        self._reseed()
        self.at: int | None = None  # the step whose mini-batch is in the window

    def step(self, step: int) -> None:
        """One step: replayed, where there is a way to record and Python has executed such a one."""
        kind = self._kind(step)
        if kind in self.kept.executed and self.kept.warm >= WARMUP_STEPS and self._replayed(kind, step):
            return
        window = slice(step * self.trainer.batch_size, (step + 1) * self.trainer.batch_size)
        metrics = self.execute(self.kept.order[window], self.kept.codes[:, window], step)
        if self.moment.epoch == step == 0:
            check_finite(self.trainer.strategy, metrics, "of the first step")
        self.kept.executed.add(kind)
        self.kept.warm += 1

    def execute(self, indices: torch.Tensor, codes: torch.Tensor, step: int) -> StepMetrics:
        """Batch, gradients, optimizer, sums: all on the device."""
        trainer, moment = self.trainer, self.moment._replace(step=step)
        batch = trainer.data.batch(indices, codes, trainer.engine)
        trainer.optimizer.zero_grad()
        metrics = self.kept.program(batch, moment)
        trainer.optimizer.step()
        after_step: Any = getattr(trainer.strategy, "after_step", None)
        if after_step:
            after_step(seen(trainer.network.losses_again(batch), moment))
        self.kept.totals += torch.stack(metrics) * self.kept.shares[len(indices)]
        return metrics

    def _kind(self, step: int) -> Kind:
        full = (step + 1) * self.trainer.batch_size <= len(self.kept.order)
        return Kind(full, due=step % getattr(self.trainer.strategy, "refresh", 1) == 0)

    def _replayed(self, kind: Kind, step: int) -> bool:
        """Whether the step has been done by a replay."""
        if not self.kept.replayer:
            return False
        if kind.full and self.at != step:
            torch.arange(step * len(self.kept.window), (step + 1) * len(self.kept.window), out=self.kept.window)
        try:
            self.kept.replayer.do(kind, lambda: self._execute_recorded(kind, step), getattr(self.trainer.strategy, "generator", None))
        except RecordingFailed as error:
            self.trainer.stop_recording(error)
            return False
        self.at = step + 1
        return True

    def _execute_recorded(self, kind: Kind, step: int) -> None:
        """The step where its mini-batch is found by memory alone: in the window, or as the last of the epoch."""
        kept = self.kept
        if not kind.full:
            last = slice(step * self.trainer.batch_size, None)
            self.execute(kept.order[last], kept.codes[:, last], step)
            return
        self.execute(kept.order[kept.window], kept.codes[:, kept.window], step)
        kept.window += len(kept.window)

    def _begin_epoch(self) -> None:
        """Tell the strategy; what was recorded of another of its branches is of no use any more."""
        epoch, total_epochs = self.moment.epoch, self.moment.total_epochs
        parts = [part for part in self.trainer.strategy.modules() if isinstance(part, Strategy)]
        for part in parts:
            part.begin_epoch(epoch, total_epochs, self.trainer.engine.device)
        branches = [part.branch(epoch, total_epochs) for part in parts]
        if self.kept.replayer and branches != self.kept.branches:
            self.kept.replayer.forget()
        self.kept.branches = branches

    def _reseed(self) -> None:
        """The strategy's generator is always the same object: what was recorded draws from it."""
        trainer, strategy = self.trainer, self.trainer.strategy
        if isinstance(strategy, Strategy):
            strategy.generator = strategy.generator or torch.Generator(trainer.engine.device)
            reseed(strategy.generator, trainer.seed, "strategy", self.moment.epoch)


def _shares(batch: int, count: int, trainer: "Trainer") -> torch.Tensor:
    """What a step of so many images adds to the epoch's mean of each field of `StepMetrics`; `correct` is a count, and becomes percent."""
    image, step = batch / count, 1 / trainer.steps_per_epoch()
    return torch.tensor([image, image, image, 100 / count, step, step, step, step], dtype=torch.float64)
