"""One epoch: training on every image once, evaluation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from mtlsweep import interrupt
from mtlsweep.data import Split
from mtlsweep.errors import summary
from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads
from mtlsweep.train.batch_norm import count
from mtlsweep.train.compilation import Compiled, compile_network
from mtlsweep.train.engine import Engine
from mtlsweep.train.evaluation import EVAL_BATCH, Evaluations
from mtlsweep.train.graphs import Recorder
from mtlsweep.train.lanes import Turns, until_done
from mtlsweep.train.network import Fused, Network
from mtlsweep.train.programs import backward_passes
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment
from mtlsweep.train.training import Pass, StepBuffers


@dataclass
class Trainer:
    """The parts of a run that its epochs work on.

    Attributes:
        compiled: passes through the model's trunk, compiled; None: it is called as it is.
        fused: kernels of our own for the model's heads, or for all of it.
        record: records what is done again and again; None: everything is executed by Python.
        say: tells the user a line.
    """

    model: TwoHeads
    strategy: nn.Module
    optimizer: torch.optim.Optimizer
    data: Resident
    engine: Engine
    seed: int
    batch_size: int
    compiled: Compiled | None = None
    fused: Fused | None = None
    record: Recorder | None = None
    say: Callable[[str], None] = print

    def steps_per_epoch(self) -> int:
        """Number of mini-batches, the last, partial one included."""
        return -(-len(self.data.train) // self.batch_size)

    def compile(self) -> None:
        """Compile the passes that the strategy needs, for full mini-batches only.

        Raises:
            Exception: of many types, where there is no compiler or it fails.
        """
        batch = self.data.first(self.batch_size, self.engine)
        # torch.func, by which both backward passes are compiled as one, cannot differentiate an operation that is not torch's own.
        passes = frozenset({1}) if self.engine.triton or self.engine.fused else backward_passes(self.strategy)
        self.compiled = compile_network(self.network, batch, EVAL_BATCH[self.engine.device.type], passes)

    def stop_recording(self, error: Exception) -> None:
        """Execute everything by Python from here on."""
        self.record = self.kept.replayer = self.evaluations.replayer = None
        self.engine = replace(self.engine, graph=False)
        self.say(f"warning: the steps of this run cannot be recorded as a CUDA graph ({summary(error)}): it goes on without")
        if isinstance(self.strategy, Strategy) and self.strategy.generator is not None:
            # Another with the same numbers to come: in torch 2.11 one that was part of a failed recording cannot be drawn from.
            state = self.strategy.generator.get_state()
            self.strategy.generator = torch.Generator(self.engine.device)
            self.strategy.generator.set_state(state)

    def steps(self, moment: Moment, on_step: Callable[[], None]) -> Turns[torch.Tensor]:
        """One pass over the training set, with a pause after every step.

        Returns the means of `StepMetrics`'s fields over images (losses, correct) and steps (the rest).
        """
        self.model.train()
        self.strategy.train()
        epoch = Pass(self, moment)
        for step in range(self.steps_per_epoch()):
            epoch.step(step)
            on_step()
            interrupt.check()
            yield None
        count(self.model, self.steps_per_epoch())
        yield from until_done(self.engine.device)
        return self.kept.totals.clone()

    def evaluate(self, split: Split) -> Turns[list[float]]:
        """Fine and coarse accuracy, percent, with a pause after every mini-batch."""
        return (yield from self.evaluations.accuracies(self, split))

    @property
    def network(self) -> Network:
        """The model in the engine's precision."""
        return Network(self.model, self.engine.autocast, self.compiled, self.fused)

    @cached_property
    def kept(self) -> StepBuffers:
        """What the training steps keep from epoch to epoch."""
        return StepBuffers(self)

    @cached_property
    def evaluations(self) -> Evaluations:
        """What the evaluations keep."""
        return Evaluations(self)
