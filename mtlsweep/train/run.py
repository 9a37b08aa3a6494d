"""A run from its settings to its result, epoch by epoch."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import torch
from torch import nn

from mtlsweep import interrupt
from mtlsweep.errors import UserError
from mtlsweep.loggers import Entry, Tracking
from mtlsweep.losses import Strategy
from mtlsweep.progress import Display
from mtlsweep.randomness import seed_globals, seeded_torch
from mtlsweep.runs import Claim
from mtlsweep.runs.outcome import Row, best, selection_metric
from mtlsweep.runs.provenance import origin
from mtlsweep.settings import build
from mtlsweep.train import checkpoint, log
from mtlsweep.train.build import build_trainer
from mtlsweep.train.engine import Engine, device_name, notes, resolve_run
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.lanes import Turns, fair_clock
from mtlsweep.train.optimizer import set_learning_rate
from mtlsweep.train.resident import resident
from mtlsweep.train.result import epoch_row, losses_finite, summarize
from mtlsweep.train.schedule import learning_rate
from mtlsweep.train.steps import Moment, StepMetrics

# What a run may have begun with and cannot go on without, by the engine's names.
LOST = {
    "compile": "a compiled network, which cannot be compiled",
    "triton": "Triton's convolutions, which do not work",
    "fused": "fused layers, which do not work",
}


class Run:
    """Built as it was when it was last saved, or anew.

    Args:
        claim: of its directory.
        settings: checked.
        description: of the directory (`RunDirectory.describe`).
        display: where its lines and steps are shown.
    """

    def __init__(self, claim: Claim, settings: dict[str, Any], description: dict[str, Any], display: Display) -> None:
        self.claim = claim
        self.settings = settings
        self.description = description
        self.display = display
        self.epochs: int = settings["schedule"]["epochs"]
        self.curriculum: Callable[[int, int], float] = build(settings["curriculum"])
        self.tracking = Tracking(build(settings["logger"]), self._say)
        engine = resolve_run(settings)
        # The strategy first: a checkpoint may hold objects of classes in its file.
        with seeded_torch(settings["seed"], "strategy"):
            self.strategy: nn.Module = build(settings["loss"])
        self.built = checkpoint.parts(self.strategy)
        saved = self._read_checkpoint(engine)
        self.progress = checkpoint.Progress.of(saved) if saved else checkpoint.Progress([], engine.describe(), first_attempt=claim.attempt)
        engine = engine.as_begun(self.progress.engine)
        engine.apply()
        self.progress.count_in(origin(device_name(engine.device)))
        if saved:
            checkpoint.restore_strategy(self.strategy, saved)
        self.trainer = self._build(engine)
        if saved:
            checkpoint.restore(self.trainer, saved)
            self._say(f"resuming after epoch {len(self.rows)} of {self.epochs}")
        else:
            for line in self._remarks():
                self._say(line)
        self.saved_at = time.monotonic()
        self.unsaved: list[str] = []

    @property
    def rows(self) -> list[Row]:
        """Its finished epochs."""
        return self.progress.rows

    @property
    def diverged(self) -> bool:
        """Whether a loss of the last finished epoch is NaN or infinite."""
        return bool(self.rows) and not losses_finite(self.rows[-1])

    def tracked(self) -> AbstractContextManager[None]:
        """The block in which its tracker follows it."""
        return self.tracking.follow(lambda: Entry.of(self.claim.directory, self.description, self.trainer.engine), self.rows)

    def train(self) -> Turns[None]:
        """The epochs that are missing, with a pause after every step."""
        self.display.start(self.epochs * self.trainer.steps_per_epoch(), len(self.rows) * self.trainer.steps_per_epoch())
        for epoch in range(len(self.rows), self.epochs):
            if self.diverged:
                return
            row = yield from self._epoch(epoch)
            with fair_clock.stopped():
                self._ended(row)
            if epoch + 1 < self.epochs:
                interrupt.check_between()

    def _ended(self, row: Row) -> None:
        """Record an epoch."""
        self.rows.append(row)
        if len(self.rows) == 1 and row["fine_weight"] == 0:
            self._say("warning: in the first epoch what was minimised did not depend on the fine loss: its effective weight is 0")
        self.claim.write_metrics(self.rows)
        self._report(len(self.rows))
        self._keep(len(self.rows))
        self.tracking.epoch(row)

    def finish(self) -> dict[str, Any]:
        """Write the result and remove what was only needed to get there."""
        result = summarize(self.progress, self.diverged, self.description["signature"], self.claim.attempt, self.trainer.engine)
        if self.settings["save"] == "last":
            self._save_weights("last.pt", self.rows[-1]["epoch"])
        elif self.settings["save"] == "best":
            self._check_best()
        self.claim.write_result(result)
        self.tracking.finish(vars(result))
        (self.claim.directory / checkpoint.NAME).unlink(missing_ok=True)
        self._say(log.final_line(self.description["options"], vars(result)))
        return vars(result)

    def _check_best(self) -> None:
        """An attempt that was not asked for weights may have been in the best epoch."""
        kept, epoch = None, best(self.rows, selection_metric(self.rows))["epoch"]
        with contextlib.suppress(Exception):  # of many types, where the file is missing or damaged: the run is whole without it
            kept = torch.load(self.claim.directory / "best.pt", map_location="cpu", mmap=True, weights_only=True)["epoch"]
        if kept != epoch:
            self._say(f"warning: the weights of the best epoch, {epoch}, were not kept (save=best was not asked for then)")

    def _remarks(self) -> Iterator[str]:
        """What combines into less than it is called."""
        if not isinstance(self.strategy, Strategy):
            return
        warm_up = self.strategy.warm_up()
        if warm_up >= self.epochs:
            first = "the first epoch of this strategy is" if warm_up == 1 else f"the first {warm_up} epochs of this strategy are"
            yield (
                f"note: {first} its warm-up, in which it is another one, and this run ends with epoch {self.epochs}: "
                "nothing of it is the strategy's own"
            )
        if self.strategy.scale_invariant and self._fades():
            yield (
                "note: the direction of this strategy's update of the trunk does not depend on the coarse loss's scale: before it is "
                "exactly 0 the curriculum acts by the update's length and by how fast the coarse head learns at most"
            )

    def _fades(self) -> bool:
        return len({self.curriculum(epoch, self.epochs) for epoch in range(self.epochs)}) > 1

    def _build(self, engine: Engine) -> Trainer:
        with seeded_torch(self.settings["seed"], "model"):
            model = build(self.settings["model"])
        images = resident(self.settings["data"], engine.device)
        trainer = build_trainer(model, self.strategy, images, engine, self.settings["schedule"], self.settings["seed"], self._say)
        for name, lost in LOST.items():
            if self.rows and getattr(trainer.engine, name) != getattr(engine, name):
                raise UserError(f"the run began with {lost} here: its epochs would not be of one kind")
        self.progress.engine = trainer.engine.describe()
        self.claim.log(f"engine: {trainer.engine}")
        self.display.once(f"engine: {trainer.engine}")
        for line in notes(self.settings["engine"], trainer.engine):
            self.display.once(line)
        return trainer

    def _read_checkpoint(self, engine: Engine) -> dict[str, Any] | None:
        try:
            return checkpoint.read(self.claim.directory, engine.device)
        except ValueError as error:
            self._say(f"warning: {error}: starting from the first epoch")
            return None

    def _epoch(self, epoch: int) -> Turns[Row]:
        began, shared = time.monotonic(), fair_clock.now()
        lr = learning_rate(self.settings["schedule"], epoch)
        set_learning_rate(self.trainer.optimizer, lr)
        # A user's strategy may draw from the global generators.
        seed_globals(self.settings["seed"], "steps", epoch)
        moment = Moment(epoch, self.epochs, self.curriculum(epoch, self.epochs))
        means = yield from self.trainer.steps(moment, self.display.step)
        trained = dict(zip(StepMetrics._fields, means.tolist(), strict=True))  # the epoch's only copy of training figures to the host
        halfway = time.monotonic()
        row = {"epoch": epoch + 1, "lr": lr} | epoch_row(trained) | (yield from self._evaluate())
        on_epoch_end: Any = getattr(self.trainer.strategy, "on_epoch_end", None)
        if on_epoch_end:
            seen = [trained["fine_loss"], trained["coarse_loss"] * moment.coarse_factor]
            on_epoch_end(torch.tensor(seen, device=self.trainer.engine.device))
        now = time.monotonic()
        return row | {"seconds": now - began, "eval_seconds": now - halfway, "device_seconds": fair_clock.now() - shared}

    def _evaluate(self) -> Turns[Row]:
        row = {}
        for prefix, split in (("val", self.trainer.data.validation), ("test", self.trainer.data.test)):
            if split is not None:
                row[f"{prefix}_fine_acc"], row[f"{prefix}_coarse_acc"] = yield from self.trainer.evaluate(split)
        return row

    def _report(self, epochs: int) -> None:
        if epochs % log.EVERY == 0 or epochs == self.epochs:
            self._say(log.train_line(self.rows[-1], learning_rate(self.settings["schedule"], epochs)))

    def _keep(self, epochs: int) -> None:
        if self.settings["save"] == "best" and best(self.rows, selection_metric(self.rows))["epoch"] == epochs:
            self._save_weights("best.pt", epochs)
        due = interrupt.ending() or time.monotonic() - self.saved_at >= self.settings["checkpoint_seconds"]
        if due and epochs < self.epochs and self._can_be_saved():
            self.claim.write_file(checkpoint.NAME, lambda file: checkpoint.save(file, self.trainer, self.progress))
            self.saved_at = time.monotonic()

    def _can_be_saved(self) -> bool:
        unsaved = checkpoint.unsaved(self.strategy, self.built)
        if unsaved and not self.unsaved:
            where = f"the strategy's attribute {unsaved[0]} cannot be saved"
            self._say(f"warning: {where}: there is no checkpoint, and if the run is interrupted it begins again at the first epoch")
        self.unsaved = unsaved
        return not unsaved

    def _save_weights(self, name: str, epoch: int) -> None:
        def write(file: BinaryIO) -> None:
            torch.save({"model": self.trainer.model.state_dict(), "epoch": epoch}, file)

        self.claim.write_file(name, write)

    def _say(self, line: str) -> None:
        self.claim.log(line)
        self.display.line(line)
