"""The engine as a subject of measurement. Nothing else here touches it, but for networks and data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from omegaconf import OmegaConf

from benchmarks.timing import Subject, synchronize
from mtlsweep import data
from mtlsweep.catalogue import OPTIONS, call_of
from mtlsweep.config import DataConfig, EngineConfig
from mtlsweep.data import Dataset
from mtlsweep.models import TwoHeads
from mtlsweep.randomness import seeded_torch, stream
from mtlsweep.runs.provenance import code_version
from mtlsweep.settings import build, check_call
from mtlsweep.train import host_trunk
from mtlsweep.train.build import build_trainer
from mtlsweep.train.convolutions import take_over
from mtlsweep.train.engine import Engine, device_name, resolve
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.fused import fits, fits_wholly
from mtlsweep.train.lanes import Lane, Turns, ready
from mtlsweep.train.processor import instructions
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment

__all__ = ["TINY", "Ours", "code_version", "dataset", "device_name", "few_channels", "instructions", "network", "optimizer"]

SEED = 42
# The recipe's (`conf/schedule/cosine200.yaml`).
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
# Its second epoch (the engine checks a run's first step), the coarse loss at full strength.
MOMENT = Moment(epoch=1, total_epochs=200, coarse_factor=1.0)

# Steps of the recipe's epoch, and of its 200: the length of run that `auto` chooses for.
EPOCH_STEPS = 391
RUN_STEPS = 200 * EPOCH_STEPS

# Networks by the names of `conf/model`, and one that is small enough to try the measurement itself; no run of it is long.
TINY = "tiny"
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("resnet20", "resnet56", "vgg16bn")},
    TINY: ("resnet20", {"depth": 8, "width": 4}),
}


def network(name: str, seed: int = SEED) -> TwoHeads:
    """A network in host memory, in torch's own layout, with the initial weights of a run of this seed."""
    option, changes = NETWORKS[name]
    with seeded_torch(seed, "model"):
        return build(_call("model", option, changes))


@cache
def few_channels(name: str) -> bool:
    """Whether a network's convolutions can be ours in Triton."""
    return take_over(network(name)) > 0


@cache
def dataset(train: int, test: int = 100) -> Dataset:
    """The built-in data, of these numbers of images."""
    return data.load(DataConfig(name="synthetic", train_size=train, test_size=test))


def optimizer(*modules: torch.nn.Module) -> torch.optim.SGD:
    """The recipe's, on the parameters of these modules."""
    parameters = chain.from_iterable(module.parameters() for module in modules)
    return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


@dataclass(frozen=True)
class Ours:
    """A run of ours.

    Attributes:
        network: its name.
        device: where.
        batch: images a step.
        loss: option of `conf/loss`.
        loss_options: what is changed in it.
        options: `engine.` settings other than device and threads; what is not given is `auto`.
    """

    network: str
    device: torch.device
    batch: int
    loss: str = "equal"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def training(self, lanes: int = 1) -> Subject:
        """Training steps with everything that belongs to them: crops, flips, the losses' sums.

        Args:
            lanes: so many runs at once, which differ in nothing; a step is one of each.
        """
        # What an epoch costs beside its steps is much, set beside a few replays: a whole one is timed.
        steps = EPOCH_STEPS if self._engine().graph and self.network != TINY else None
        return Subject(lambda count: partial(_epoch, [_Run(self._trainer(count * self.batch)) for _ in range(lanes)]), steps)

    def epochs(self, train: int, test: int) -> Subject:
        """One step is a training epoch on `train` images and an evaluation on `test`, as in a run."""
        return Subject(lambda count: partial(_epochs, _Run(self._trainer(train, test), evaluates=True), count))

    def evaluation(self) -> Subject:
        """One step is one image of the test set."""
        return Subject(self._evaluate)

    def augmentation(self) -> Subject:
        """From uint8 images in memory to the network's input; one step is one mini-batch."""
        return Subject(self._augment)

    def trained(self, steps: int) -> TwoHeads:
        """The network after so many steps."""
        trainer = self._trainer(steps * self.batch)
        _epoch([_Run(trainer)])
        return trainer.model

    def choices(self) -> str:
        """What the engine's settings resolve to here."""
        engine = self._engine()
        return str(self._fitting(engine))

    def _evaluate(self, images: int) -> Callable[[], object]:
        run = _Run(self._trainer(self.batch, images), trains=False, evaluates=True)
        _epoch([run])  # the second evaluation is recorded where there are CUDA graphs, the others are replays
        return partial(_epoch, [run])

    def _augment(self, steps: int) -> Callable[[], object]:
        engine = self._engine()
        resident = _resident(steps * self.batch, 100, engine.device)
        order = torch.arange(steps * self.batch, device=engine.device)
        codes = resident.augmentation.draw(len(order), stream(SEED, "augment")).to(engine.device)

        def augment() -> None:
            engine.apply()
            for indices, part in zip(order.split(self.batch), codes.split(self.batch, dim=1), strict=True):
                resident.prepare(resident.augmentation.batch(indices, part), engine)

        return augment

    def _trainer(self, train: int, test: int = 100) -> Trainer:
        engine = self._engine()
        engine.apply()
        with seeded_torch(SEED, "strategy"):
            strategy = build(_call("loss", self.loss, self.loss_options))
        schedule = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "batch_size": self.batch}
        trainer = build_trainer(network(self.network), strategy, _resident(train, test, engine.device), engine, schedule, SEED)
        wanted = self._fitting(engine)
        if trainer.engine.compile != wanted.compile:
            raise RuntimeError("it could not be compiled")
        if (trainer.engine.triton, trainer.engine.fused) != (wanted.triton, wanted.fused):
            raise RuntimeError("kernels of our own do not work")
        synchronize(engine.device)  # a lane's stream does not wait for this one's work
        return trainer

    def _fitting(self, engine: Engine) -> Engine:
        """What is left of an engine's choices for this network."""
        if not (engine.triton or engine.fused):
            return engine
        model = network(self.network)
        if engine.device.type == "cpu":
            fused = host_trunk.fits(model.trunk)
            return replace(engine, fused=fused, compile=engine.compile and not fused)
        fused = engine.fused and fits(model)
        wholly = engine.triton and fused and fits_wholly(model, engine.compile)
        triton = engine.triton and (wholly or few_channels(self.network))
        return replace(engine, triton=triton, fused=fused, compile=engine.compile and not wholly)

    def _engine(self) -> Engine:
        given = {"device": str(self.device), "threads": torch.get_num_threads(), **self.options}
        settings = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(EngineConfig), given), enum_to_str=True)
        assert isinstance(settings, dict)
        model = _call("model", *NETWORKS[self.network])["_target_"]
        return resolve({str(key): value for key, value in settings.items()}, 0 if self.network == TINY else RUN_STEPS, model)


@cache
def _resident(train: int, test: int, device: torch.device) -> Resident:
    """Shared by all runs, as the runs of a sweep share theirs."""
    return Resident.of(dataset(train, test), device)


class _Run:
    """A run that goes on and on, on a lane of its own, as a run of a sweep does.

    Args:
        trains, evaluates: what an epoch is.

    Attributes:
        paused: whether it has just ended an epoch.
    """

    def __init__(self, trainer: Trainer, trains: bool = True, evaluates: bool = False) -> None:
        self.trainer = trainer
        self.trains = trains
        self.evaluates = evaluates
        self.paused = False
        self.lane = Lane(self._turns(), trainer.engine.device, draws=False)
        self._engine = trainer.engine

    def check(self) -> None:
        """See that nothing has been measured under another name.

        Raises:
            RuntimeError: its steps could not be recorded.
        """
        if self.trainer.engine != self._engine:
            raise RuntimeError(f"it went on as {self.trainer.engine}")

    def _turns(self) -> Turns[None]:
        while True:
            if self.trains:
                totals = yield from self.trainer.steps(MOMENT, lambda: None)
                totals.tolist()  # the epoch's copy to the host
            if self.evaluates:
                yield from self.trainer.evaluate(self.trainer.data.test)
            self.paused = True
            yield None


def _epoch(runs: list[_Run]) -> None:
    """One epoch of each run, a step each in turn."""
    runs[0].trainer.engine.apply()
    for run in runs:
        run.paused = False
    while going := {run.lane: run for run in runs if not run.paused}:
        for lane in ready(list(going)):
            lane.turn()
    for run in runs:
        run.check()


def _epochs(run: _Run, count: int) -> None:
    for _ in range(count):
        _epoch([run])


def _call(group: str, option: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    return check_call(call_of(OPTIONS.parent / group / f"{option}.yaml") | dict(changes), group)
