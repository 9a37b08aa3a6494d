"""`hydra.launcher.lanes=auto`: how many runs of a sweep a GPU takes at once. The results do not depend on it."""

import gc
from collections.abc import Callable, Sequence
from itertools import count
from time import perf_counter
from typing import Any, NamedTuple

import torch

from mtlsweep.errors import summary
from mtlsweep.randomness import seeded_torch
from mtlsweep.runs.signature import source_file
from mtlsweep.settings import CALLS, build
from mtlsweep.train.build import build_trainer
from mtlsweep.train.engine import Engine, resolve, resolve_run
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.lanes import Lane, Turns, ready
from mtlsweep.train.resident import resident
from mtlsweep.train.steps import Moment

# The numbers that are tried.
LANES = (1, 2, 4, 8, 16)
# More lanes are worth their memory if they give so many times the images a second.
LEAST_GAIN = 1.1
# Of the free memory: the rest is for what grows later on.
SHARE_OF_MEMORY = 0.85

# Turns until a run has been evaluated twice and has recorded its steps; turns that are timed.
WARM_TURNS, TIMED_TURNS = 50, 100


class Measured(NamedTuple):
    """Of so many lanes: images trained on a second, all together; bytes of memory, all together."""

    images_per_second: float
    bytes: int


class Lanes(NamedTuple):
    """Their number, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        """For people."""
        return f"lanes: {self.number} ({self.reason})"


def search(measure: Callable[[int], Measured | None], most: int, free: int) -> Lanes:
    """The number of lanes from which on more of them give hardly more images a second.

    Args:
        measure: of so many lanes, called with growing numbers; None: memory ran out.
        most: there are no more runs.
        free: bytes of memory.
    """
    if most == 1:
        return Lanes(1, "there is only one run")
    alone = measure(1)
    if alone is None:
        return Lanes(1, "memory hardly suffices for one run")
    number, best = 1, alone
    for lanes in sorted({min(lanes, most) for lanes in LANES[1:]}):
        fits = best.bytes / number * lanes <= SHARE_OF_MEMORY * free
        more = measure(lanes) if fits else None
        if more is None:
            return Lanes(number, f"{_gain(best, alone)}; memory would not suffice for {lanes}")
        if more.images_per_second < LEAST_GAIN * best.images_per_second:
            return Lanes(
                number, f"{_gain(best, alone)}; {lanes} would give {more.images_per_second / best.images_per_second:.2f} times that"
            )
        number, best = lanes, more
    return Lanes(number, f"{_gain(best, alone)}; {'there are no more runs' if number == most else 'more are not tried'}")


def _gain(best: Measured, alone: Measured) -> str:
    return f"{best.images_per_second:.0f} images/s, {best.images_per_second / alone.images_per_second:.2f} times one run's"


def find_lanes(runs: Sequence[dict[str, Any]]) -> Lanes:
    """How many of these runs are to take turns in this process. On a GPU that takes some seconds and, where runs are compiled, the time of
    that; nothing else of it is kept.

    The first one on a GPU is tried that has no code of a user's own, which is executed nowhere but in its run.

    Args:
        runs: their settings.

    Raises:
        KeyboardInterrupt: the user ended it.
    """
    try:
        on_gpu = [settings for settings in runs if resolve(settings["engine"]).device.type == "cuda"]
        known = [settings for settings in on_gpu if not any(source_file(settings[group]) for group in CALLS)]
        if not on_gpu:
            return Lanes(1, "on a CPU runs gain nothing by taking turns")
        if not known:
            return Lanes(1, "code of your own is executed in its run only, and not tried")
        return _try(known[0], len(on_gpu))
    except Exception as error:  # of many types: the run itself will say it better
        return Lanes(1, f"the first run could not be tried: {summary(error)}")


def _try(settings: dict[str, Any], most: int) -> Lanes:
    # Compiled where the run will be: that takes longer than all the rest, but is kept, and the run need not do it again.
    trial = Trial(settings, resolve_run(settings))
    try:
        return search(trial.measure, most, trial.free)
    finally:
        trial.end()


class Trial:
    """Runs of the same settings on lanes, as many as are asked for.

    Args:
        settings: of the run.
        engine: that it is tried on.
    """

    def __init__(self, settings: dict[str, Any], engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._images = resident(settings["data"], engine.device)
        self._lanes: list[Lane] = []
        self._trainers: list[Trainer] = []
        self._steps = 0
        self.free = self._free_now()

    def measure(self, lanes: int) -> Measured | None:
        """Of so many lanes; None: memory ran out."""
        try:
            while len(self._lanes) < lanes:
                self._lanes.append(Lane(self._endless(), self._engine.device, draws=False))
                self._turns(self._lanes[-1:], WARM_TURNS)
            # What one run records, and the next one does not, is not recorded for want of memory.
            if len({trainer.engine.graph for trainer in self._trainers}) > 1:
                return None
            self._steps, began = 0, perf_counter()
            self._turns(self._lanes, TIMED_TURNS)
            seconds = perf_counter() - began
        except torch.cuda.OutOfMemoryError:
            return None
        return Measured(self._steps * self._settings["schedule"]["batch_size"] / seconds, self.free - self._free_now())

    def end(self) -> None:
        """Give all memory back."""
        for lane in self._lanes:
            lane.interrupt()
        self._lanes.clear()
        self._trainers.clear()
        gc.collect()
        if self._engine.device.type == "cuda":
            torch.cuda.empty_cache()

    def _turns(self, lanes: Sequence[Lane], turns: int) -> None:
        for _ in range(turns):
            for lane in ready(lanes):
                lane.turn()
        if self._engine.device.type == "cuda":
            torch.cuda.synchronize(self._engine.device)

    def _endless(self) -> Turns[None]:
        """A run that is evaluated first, which takes the most memory, and never ends."""
        settings, seed, epochs = self._settings, self._settings["seed"], self._settings["schedule"]["epochs"]
        self._engine.apply()
        with seeded_torch(seed, "strategy"):
            strategy = build(settings["loss"])
        with seeded_torch(seed, "model"):
            model = build(settings["model"])
        trainer = build_trainer(model, strategy, self._images, self._engine, settings["schedule"], seed, say=lambda line: None)
        self._trainers.append(trainer)
        for _ in range(2):
            yield from trainer.evaluate(self._images.test)
        for epoch in count():
            yield from trainer.steps(Moment(epoch % epochs, epochs, coarse_factor=1.0), self._count)

    def _count(self) -> None:
        self._steps += 1

    def _free_now(self) -> int:
        return torch.cuda.mem_get_info(self._engine.device)[0] if self._engine.device.type == "cuda" else 0
