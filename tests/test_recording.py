"""Recorded steps and evaluations, replayed over epochs, give the bits of those that Python executes: for every strategy."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from recorded import BATCH, CPU, EPOCHS, EVERY, IMAGES, RATES, Trained, built_in_images, every_kind, make, plain_engine, refuses, tiny
from small_network import batch, network
from tape import FORBIDDEN, TapeRecorder
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtlsweep.losses import Strategy
from mtlsweep.train.build import build_trainer
from mtlsweep.train.compilation import Compiled
from mtlsweep.train.engine import Engine
from mtlsweep.train.graphs import WARMUP_STEPS
from mtlsweep.train.network import Network
from mtlsweep.train.optimizer import RecordableSGD, pieces, set_learning_rate
from mtlsweep.train.programs import backward_passes, step_program
from mtlsweep.train.resident import Resident
from mtlsweep.train.steps import Moment
from mtlsweep.train.training import Pass
from mtlsweep.train.two_gradients import differentiate

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> Resident:
    return built_in_images(CPU)


def as_one(strategy: Strategy) -> Compiled | None:
    """What is compiled elsewhere, as it is: both gradients as one function, where the strategy takes both."""
    passes = backward_passes(strategy)
    return Compiled(lambda images: images, differentiate, passes - {1}, BATCH, eval_batch=0) if 2 in passes else None


@every_kind
def test_replays_are_what_python_executes(name: str, options: dict[str, Any], images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Trained.of(make(name, **options), images, refuses, monkeypatch)
    assert not plain.trainer.engine.graph
    tape = TapeRecorder()
    replayed = Trained.of(make(name, **options), images, tape, monkeypatch)
    assert replayed.trainer.engine.graph
    assert replayed.numbers == plain.numbers
    # Full mini-batches, with and without new weights, and the partial one from the second epoch on; anew for another branch.
    branches = [make(name, **options).branch(number, EPOCHS) for number in range(EPOCHS)]
    changes = [one != other for one, other in pairwise(branches)]
    steps = min(2, options.get("refresh", 1)) * (1 + sum(changes)) + (1 + sum(changes[1:]))
    assert (tape.recorded, tape.replayed) == (steps + 1, EPOCHS * (IMAGES // BATCH) - WARMUP_STEPS + 2 * (EPOCHS - 1))
    assert tape.settled == 1


@pytest.mark.parametrize(("name", "options"), [("pcgrad", {}), ("pcgrad", {"refresh": 3}), ("moco", {}), ("graddrop", {})])
def test_both_gradients_as_one_function_are_replayed_too(
    name: str, options: dict[str, Any], images: Resident, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(record: Callable[..., Any]) -> Trained:
        strategy = make(name, **options)
        return Trained.of(strategy, images, record, monkeypatch, compiled=as_one(strategy))

    plain, taped = trained(refuses), trained(TapeRecorder())
    assert taped.trainer.engine.graph
    assert taped.numbers == plain.numbers


class Untouchable:
    """In place of an epoch's number: nothing can be done with it."""

    def touched(self, *arguments: object) -> Any:
        raise TypeError("the epoch has been read")

    __eq__ = __ne__ = __bool__ = __hash__ = __str__ = __repr__ = __format__ = touched


@pytest.mark.parametrize("name", EVERY)
def test_what_a_step_takes_of_the_epoch_is_its_fade_and_its_branch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, untouchable = make(name), Untouchable()
    program = step_program(Network(network()), strategy)
    kind = type(strategy)
    for method, found in (("fade_at", 0.5), ("branch", kind.branch(strategy, 1, 10))):
        monkeypatch.setattr(kind, method, lambda *arguments, found=found: found)
    strategy.begin_epoch(untouchable, 10, torch.device("cpu"))  # type: ignore[arg-type]
    for _ in range(3):
        program(batch(), Moment(untouchable, 10, 1.0))  # type: ignore[arg-type]
        for method, losses in (("after_step", [2.0, 1.5]), ("on_epoch_end", [2.0, 1.5])):
            getattr(strategy, method, lambda losses: None)(torch.tensor(losses))


def test_a_fade_is_the_epochs_own_where_the_engine_has_another() -> None:
    strategy = make("haw")
    assert strategy.current_fade(2, 10) == pytest.approx(0.64)
    strategy.begin_epoch(5, 10, torch.device("cpu"))
    held = strategy.current_fade(5, 10)
    assert isinstance(held, torch.Tensor)
    assert held.item() == 0.25
    assert strategy.current_fade(2, 10) == pytest.approx(0.64)
    strategy.begin_epoch(6, 10, torch.device("cpu"))
    assert strategy.current_fade(6, 10) is held


def test_what_a_graph_cannot_hold_is_executed_by_python_and_said(images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the stand-in is as strict as a graph: it notices."""

    class Reads(type(make("equal"))):  # type: ignore[misc]
        def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
            return fine_loss + min(1.0, coarse_loss.item()) * coarse_loss

    Reads.__module__ = "mtlsweep.losses.equal"
    plain, taped = (Trained.of(Reads(), images, record, monkeypatch) for record in (refuses, TapeRecorder()))
    assert not taped.trainer.engine.graph
    assert taped.numbers == plain.numbers


def test_the_stand_in_repeats_constants_as_a_graph_does() -> None:
    memory, factor, rate = torch.zeros(2), torch.ones(()), 1.0
    tape = TapeRecorder()
    recorded = tape(lambda: memory.add_(rate * factor), None)
    assert memory.tolist() == [0.0, 0.0]
    recorded.replay()
    rate = 100.0
    factor.fill_(5.0)
    recorded.replay()
    assert memory.tolist() == [6.0, 6.0]


class OnDevice(TorchDispatchMode):
    """Within it there are tensors of one device only, and none of its values is read: nothing waits."""

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: dict[str, Any] | None = None) -> Any:
        result = operation(*arguments, **(options or {}))
        tensors = [leaf for leaf in tree_leaves((arguments, options, result)) if isinstance(leaf, torch.Tensor)]
        assert all(tensor.is_meta for tensor in tensors), f"{operation} on {[str(tensor.device) for tensor in tensors]}"
        assert operation._schema.name not in FORBIDDEN
        return result


@every_kind
def test_no_step_copies_between_host_and_device(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without data stand for a GPU's: where one is asked for a value, or meets one of the host's, there is an error."""
    meta = torch.device("meta")
    monkeypatch.setattr(Engine, "autocast", lambda self: nullcontext())
    engine = replace(plain_engine(meta), graph=False)
    images = built_in_images(meta)
    strategy = make(name, **options)
    for compiled in {None, as_one(strategy)}:
        strategy.generator = torch.Generator()
        schedule = {"lr": 1.0, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": BATCH}
        trainer = build_trainer(tiny(), strategy, images, engine, schedule, seed=7)
        trainer.compiled = compiled
        steps = Pass(trainer, Moment(1, 10, 0.5))
        strategy.generator = None  # which has to be of the device
        monkeypatch.setattr(trainer.optimizer, "step", lambda: None)  # its fused form is for devices with data
        for step in (0, 1, 4):
            window = slice(step * BATCH, (step + 1) * BATCH)
            indices, codes = steps.kept.order[window], steps.kept.codes[:, window]
            with OnDevice():
                steps.execute(indices, codes, step)


def test_runs_beside_one_that_is_evaluated_have_their_turns(images: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trained.of(make("equal"), images, refuses, monkeypatch).trainer
    assert [torch.is_grad_enabled() for _ in trainer.evaluate(images.test)] == [True, True, True]


# A strategy's state must not move between epochs: what was recorded would go on with the old one.
@pytest.mark.parametrize("name", EVERY)
def test_a_strategys_state_stays_where_it_is_over_an_epochs_end(name: str) -> None:
    strategy = make(name)
    program = step_program(Network(network()), strategy)
    program(batch(), Moment(0, 10, 1.0))
    places = {key: value.data_ptr() for key, value in strategy.state_dict().items()}
    for number in range(3):
        getattr(strategy, "on_epoch_end", lambda losses: None)(torch.tensor([2.0 - number / 2, 1.5]))
        program(batch(), Moment(number + 1, 10, 1.0))
    assert {key: value.data_ptr() for key, value in strategy.state_dict().items()} == places


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(288, 5)).to(memory_format=torch.channels_last)


def updates(model: nn.Module, optimizer: torch.optim.Optimizer, rates: tuple[float, ...], first: int = 0) -> Iterator[list[torch.Tensor]]:
    """The parameters after each step; with which learning rate and on which images depends on its number."""
    for number, rate in enumerate(rates, first):
        set_learning_rate(optimizer, rate)
        optimizer.zero_grad()
        torch.manual_seed(number)
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        yield [parameter.detach().clone() for parameter in model.parameters()]


RECIPE: dict[str, Any] = {"lr": 1.0, "momentum": 0.9, "weight_decay": 5e-4}


def test_the_recordable_optimizer_is_sgd() -> None:
    plain, ours = layers(), layers()
    pairs = zip(
        updates(plain, torch.optim.SGD(plain.parameters(), **RECIPE), RATES),
        updates(ours, RecordableSGD(ours.parameters(), **RECIPE), RATES),
        strict=True,
    )
    for expected, found in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_cutting_up_a_large_tensor_changes_no_bit() -> None:
    torch.manual_seed(0)
    given = torch.randn(64, 64, 3, 3).to(memory_format=torch.channels_last), torch.randn(100, 64), torch.randn(64), torch.randn(300, 300)
    assert [len(pieces([tensor])) for tensor in given] == [5, 1, 1, 1]  # the last is cut by torch
    results = []
    for kind, fused in ((torch.optim.SGD, {"fused": True}), (RecordableSGD, {})):
        parameters = [nn.Parameter(tensor.clone()) for tensor in given]
        optimizer = kind(parameters, **RECIPE, **fused)
        for number in range(3):
            torch.manual_seed(number)
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        results.append(parameters)
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize("kinds", [(torch.optim.SGD, RecordableSGD), (RecordableSGD, torch.optim.SGD), (RecordableSGD, RecordableSGD)])
def test_what_is_saved_of_either_optimizer_the_other_continues(kinds: tuple[Any, Any]) -> None:
    undisturbed = layers()
    expected = list(updates(undisturbed, torch.optim.SGD(undisturbed.parameters(), **RECIPE), RATES))[-1]
    model = layers()
    first = kinds[0](model.parameters(), **RECIPE)
    for _ in updates(model, first, RATES[:2]):
        pass
    second = kinds[1](model.parameters(), **RECIPE)
    second.load_state_dict(first.state_dict())
    (continued,) = updates(model, second, RATES[2:], first=2)
    torch.testing.assert_close(continued, expected, rtol=1e-5, atol=1e-7)


def test_a_parameter_may_get_its_first_gradient_late_and_in_another_layout() -> None:
    model = layers()
    plain, ours = (
        kind([nn.Parameter(parameter.detach().clone()) for parameter in model.parameters()], **RECIPE)
        for kind in (torch.optim.SGD, RecordableSGD)
    )
    for number in range(3):
        for optimizer in (plain, ours):
            torch.manual_seed(number)
            for place, parameter in enumerate(optimizer.param_groups[0]["params"]):
                gradient = torch.randn(parameter.shape)  # contiguous, the parameter is not
                parameter.grad = gradient if number or place else None
            optimizer.step()
    assert not ours.param_groups[0]["params"][0].is_contiguous()
    for expected, found in zip(plain.param_groups[0]["params"], ours.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
