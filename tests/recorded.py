"""Short trainings that are recorded and replayed, or executed by Python: of every strategy, on any device, to be compared bit for bit."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from mtlsweep import data
from mtlsweep.catalogue import OPTIONS, call_of
from mtlsweep.config import DataConfig
from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads
from mtlsweep.settings import build, check_call
from mtlsweep.train import build as build_module
from mtlsweep.train import evaluation
from mtlsweep.train.build import build_trainer
from mtlsweep.train.compilation import Compiled
from mtlsweep.train.engine import Engine
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.graphs import RecordingFailed
from mtlsweep.train.lanes import Turns
from mtlsweep.train.optimizer import set_learning_rate
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment

EVERY = [path.stem for path in sorted(OPTIONS.glob("*.yaml"))]
# What the collection's options are not at their defaults, and yet another kind of step.
MORE: list[tuple[str, dict[str, Any]]] = [
    ("pcgrad", {"refresh": 3}),
    ("gradnorm", {"refresh": 2}),
    ("cr_mogm", {"of": "gradvac"}),
    ("cagrad", {"scope": "representation", "refresh": 3}),
    ("mgda", {"scope": "fine_path"}),
    ("imtl_g", {"length": "sum", "heads": "weighted"}),
    ("graddrop", {"length": "fine"}),
    ("stch", {"warmup_epochs": 1}),
]
every_kind = pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in EVERY), *MORE], ids=lambda value: str(value) if value else ""
)
# What changes from epoch to epoch.
RATES, FACTORS = (0.1, 0.07, 0.01), (1.0, 0.6, 0.0)
EPOCHS = len(RATES)
# Four full mini-batches and a partial one.
IMAGES, BATCH = 100, 22

CPU = torch.device("cpu")


def make(name: str, **settings: Any) -> Strategy:
    strategy = build(check_call(call_of(OPTIONS / f"{name}.yaml") | settings, "loss"))
    assert isinstance(strategy, Strategy)
    return strategy


def built_in_images(device: torch.device, count: int = IMAGES) -> Resident:
    return Resident.of(data.load(DataConfig(name="synthetic", train_size=count, test_size=100)), device)


def plain_engine(device: torch.device) -> Engine:
    return Engine(device, "fp32", channels_last=True, threads=1, compile=False, graph=True)


def tiny() -> TwoHeads:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TwoHeads(trunk, features=4)


def refuses(body: object, generator: object) -> None:
    raise RecordingFailed("there is no way")


@dataclass
class Trained:
    """What a run came to: of each epoch the means of its steps, the accuracies and a hash of the weights behind it."""

    trainer: Trainer
    numbers: list[Any]

    @classmethod
    def of(
        cls,
        strategy: Strategy,
        images: Resident,
        record: Callable[..., Any] | None,
        monkeypatch: pytest.MonkeyPatch,
        engine: Engine | None = None,
        model: Callable[[], TwoHeads] = tiny,
        batch_size: int = BATCH,
        compiled: Compiled | None = None,
    ) -> "Trained":
        """With this recorder; None: the engine's own."""
        engine = engine or plain_engine(images.white.device)
        torch.manual_seed(0)
        schedule = {"lr": 1.0, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": batch_size}
        monkeypatch.setitem(evaluation.EVAL_BATCH, engine.device.type, 40)
        with monkeypatch.context() as patch:
            if record:
                patch.setattr(build_module, "CudaRecorder", lambda: record)
            trainer = build_trainer(model(), strategy, images, engine, schedule, seed=7)
            trainer.compiled = compiled or trainer.compiled
            return cls(trainer, [epoch(trainer, number) for number in range(EPOCHS)])


def epoch(trainer: Trainer, number: int) -> tuple[Any, ...]:
    set_learning_rate(trainer.optimizer, RATES[number])
    means = ended(trainer.steps(Moment(number, EPOCHS, FACTORS[number]), lambda: None))
    on_epoch_end: Any = getattr(trainer.strategy, "on_epoch_end", None)
    if on_epoch_end:
        on_epoch_end((means[1:3] * means.new_tensor([1.0, FACTORS[number]])).float())
    weights = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]).cpu()
    digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
    return means.nan_to_num(-1.0).tolist(), ended(trainer.evaluate(trainer.data.test)), digest


def ended(turns: Turns[Any]) -> Any:
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value
