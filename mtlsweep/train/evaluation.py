"""Accuracies on a split. One number of each task is copied to the host, at the end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from mtlsweep import interrupt
from mtlsweep.data import Split
from mtlsweep.train.graphs import RecordingFailed, Replayer
from mtlsweep.train.lanes import Turns, until_done

if TYPE_CHECKING:
    from mtlsweep.train.epoch import Trainer

# Images a forward pass. Larger batches fall out of a CPU's cache.
EVAL_BATCH = {"cpu": 250, "cuda": 2000}


class Evaluations:
    """Those of a run. A split's first is executed by Python, its second recorded as a whole, where there is a way to; the rest are replays.

    Args:
        trainer: of the run.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.correct = torch.zeros(2, device=trainer.engine.device)
        self.replayer = Replayer(trainer.record) if trainer.record else None
        self.executed: dict[int, int] = {}  # how often, by the split's identity

    def accuracies(self, trainer: "Trainer", split: Split) -> Turns[list[float]]:
        """Fine and coarse accuracy, percent, with a pause after every mini-batch.

        Args:
            trainer: of the run.
            split: that stays where it lies.
        """
        trainer.model.eval()
        if not self._replayed(trainer, split):
            for _ in self._counting(trainer, split):
                interrupt.check()
                yield None
        self.executed[id(split)] = self.executed.get(id(split), 0) + 1
        yield from until_done(trainer.engine.device)
        return [100 * count / len(split) for count in self.correct.tolist()]

    def _replayed(self, trainer: "Trainer", split: Split) -> bool:
        times = self.executed.get(id(split), 0)
        if not (trainer.record and self.replayer and times):
            return False
        try:
            self.replayer.do(id(split), lambda: list(self._counting(trainer, split)))
        except RecordingFailed as error:
            trainer.stop_recording(error)
            return False
        if times == 1:
            trainer.record.settle()
        return True

    def _counting(self, trainer: "Trainer", split: Split) -> Iterator[None]:
        """Count what is right, a mini-batch at a time."""
        size = EVAL_BATCH[trainer.engine.device.type]
        self.correct.zero_()
        for start in range(0, len(split), size):
            self._count(trainer, split, slice(start, start + size))
            yield

    def _count(self, trainer: "Trainer", split: Split, window: slice) -> None:
        with torch.no_grad():  # which compiled code knows better than inference_mode; not over a pause, which is other runs' time
            images = trainer.data.prepare(split.images[window].permute(0, 3, 1, 2), trainer.engine)
            fine, coarse = trainer.network.logits(trainer.network.features(images))
            self.correct[0] += (fine.argmax(1) == split.fine[window]).sum()
            self.correct[1] += (coarse.argmax(1) == split.coarse[window]).sum()
