"""The parts of a run put together, as fast as its engine allows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeGuard

import torch
from torch import nn

from mtlsweep.errors import summary
from mtlsweep.losses import Strategy
from mtlsweep.models import TwoHeads
from mtlsweep.train.batch_norm import count_by_epoch
from mtlsweep.train.engine import Engine
from mtlsweep.train.epoch import Trainer
from mtlsweep.train.graphs import CudaRecorder
from mtlsweep.train.kernels import memory_ran_out
from mtlsweep.train.network import Batch, Fused, Network
from mtlsweep.train.optimizer import SGD, RecordableSGD
from mtlsweep.train.resident import Resident

# Images that kernels are tried out with. Where mini-batches have an odd number they are tried with one image more: the launch then has
# programs that are only partly filled, for which the kernels are compiled another time.
TRIED = 16


def build_trainer(
    model: TwoHeads,
    strategy: nn.Module,
    images: Resident,
    engine: Engine,
    schedule: dict[str, Any],
    seed: int,
    say: Callable[[str], None] = print,
) -> Trainer:
    """Move model and strategy to the engine's device, give both to one optimizer; compile and record where the engine says so.

    Args:
        model, strategy: with their first parameters, anywhere.
        images: on the device.
        engine: applied already. `Trainer.engine` is another one where something of it could not be done.
        schedule: the group `schedule` of a run's settings.
        seed: of the order and the augmentation.
        say: tells the user a line: a warning where compiling failed.
    """
    model = model.to(engine.device).to(memory_format=engine.memory_format)
    count_by_epoch(model)
    tried = _tried(schedule["batch_size"], len(images.train))
    fused = _fused(model, [images.first(count, engine) for count in tried], engine, _is_ours(strategy), say) if engine.fused else None
    engine = replace(engine, fused=fused is not None)
    if fused and fused.trunk:
        engine = replace(engine, compile=False)  # nothing is left to be compiled
    elif engine.triton:
        engine = replace(engine, triton=_taken_over(model, [images.first(count, engine).images for count in tried], engine, say))
    strategy = strategy.to(engine.device)
    # On a GPU always, so that a strategy's steps that cannot be recorded are no other steps.
    sgd = RecordableSGD if engine.graph or engine.device.type == "cuda" else SGD
    parameters = chain(model.parameters(), strategy.parameters())
    optimizer = sgd(parameters, lr=schedule["lr"], momentum=schedule["momentum"], weight_decay=schedule["weight_decay"])
    trainer = Trainer(model, strategy, optimizer, images, engine, seed, schedule["batch_size"], fused=fused, say=say)
    if engine.compile:
        _compile(trainer)
    if engine.graph:
        _record(trainer)
    return trainer


def _tried(batch_size: int, count: int) -> list[int]:
    """Numbers of images, by those of the mini-batches of so many images."""
    return sorted({TRIED + size % 2 for size in (min(batch_size, count), count % batch_size) if size})


def _taken_over(model: TwoHeads, tried: Sequence[torch.Tensor], engine: Engine, say: Callable[[str], None]) -> bool:
    """Whether the model's convolutions are now our own kernels."""
    from mtlsweep.train import convolutions

    if not convolutions.take_over(model):
        return False

    def attempt() -> None:
        with engine.autocast():
            for images in tried:
                convolutions.try_out(model, images)

    if _works(attempt, "convolutions in Triton", "cuDNN's", say):
        return True
    convolutions.give_back(model)
    return False


def _fused(model: TwoHeads, tried: Sequence[Batch], engine: Engine, heads: bool, say: Callable[[str], None]) -> Fused | None:
    """Kernels of our own: a processor's for the model's trunk; a GPU's for its heads, where a strategy leaves their losses' graphs alone,
    and for its trunk where they do it."""
    from mtlsweep.train import fused

    host = on_host(engine)
    if host:
        made = fused.fuse_on_host(model, torch.bfloat16 if engine.precision == "bf16" else torch.float32)
    else:
        made = fused.fuse(model, torch.bfloat16, engine.triton, heads, engine.compile) if fused.fits(model) else None
    if made is None:
        return None

    def attempt() -> None:
        for batch in tried:
            fused.try_out(Network(model, engine.autocast), made, batch)

    return made if _works(attempt, f"fused layers in {'C++' if host else 'Triton'}", "torch's", say) else None


def on_host(engine: Engine) -> bool:
    """Whether kernels are a processor's."""
    return engine.device.type == "cpu"


def _works(attempt: Callable[[], None], what: str, whose: str, say: Callable[[str], None]) -> bool:
    """Whether kernels of our own can be executed; if not, a line says whose they are then."""
    try:
        attempt()
    except Exception as error:  # of many types
        if memory_ran_out(error):
            raise
        say(f"warning: {what} do not work here ({summary(error)}): they are {whose}")
        return False
    return True


def _record(trainer: Trainer) -> None:
    strategy = trainer.strategy
    others = _of_others(trainer.model)
    if not others and _is_ours(strategy) and strategy.capturable:
        trainer.record = CudaRecorder()
        return
    trainer.engine = replace(trainer.engine, graph=False)
    what = f"a model with a {others[0]}" if others else "this strategy"
    trainer.say(f"note: the steps of {what} may depend on more than the device's memory: they are not recorded as CUDA graphs")


def _is_ours(strategy: nn.Module) -> TypeGuard[Strategy]:
    """Whether a strategy is one of this package's. Of a user's own class nothing is known, whatever it inherits."""
    return isinstance(strategy, Strategy) and type(strategy).__module__.startswith("mtlsweep.losses.")


def _of_others(model: nn.Module) -> list[str]:
    """Names of a model's classes that are neither this package's nor torch's."""
    classes = {type(module) for module in model.modules()}
    return sorted(one.__name__ for one in classes if one.__module__.partition(".")[0] not in ("mtlsweep", "torch"))


def _compile(trainer: Trainer) -> None:
    try:
        trainer.compile()
    except Exception as error:  # of many types
        trainer.say(f"warning: the network cannot be compiled ({summary(error)}): it runs as it is")
        trainer.engine = replace(trainer.engine, compile=False)
