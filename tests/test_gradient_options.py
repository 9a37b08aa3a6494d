"""What gradient strategies can be told, and the identities between them, through real training steps of a small network."""

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from small_network import Fixed, assert_same, batch, conflicting, gradients, network, plain_gradients, step, trunk_gradients
from torch import nn

from mtlsweep.catalogue import COMMON, OPTIONS, call_of
from mtlsweep.errors import UserError
from mtlsweep.losses import GradientStrategy, GramStrategy
from mtlsweep.losses.equal import Equal
from mtlsweep.losses.gram import rescale
from mtlsweep.models import TwoHeads
from mtlsweep.settings import build, check_call
from mtlsweep.train.network import Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment

pytestmark = pytest.mark.usefixtures("double_precision")


def make(name: str, **options: Any) -> Any:
    return build(check_call(call_of(OPTIONS / f"{name}.yaml") | options, "loss"))


def in_trunk(model: TwoHeads) -> int:
    return len(list(model.trunk.parameters()))


def trunk_update(model: TwoHeads) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients(model)[: in_trunk(model)]])


class Swapped(GradientStrategy):
    """The fine gradient minus twice the coarse one."""

    def combine(
        self, fine_grad: torch.Tensor, coarse_grad: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return fine_grad - 2 * coarse_grad, torch.tensor([1.0, -2.0])


def test_options_file_has_the_codes_defaults() -> None:
    assert OmegaConf.load(OPTIONS / "options" / "gradient.yaml") == COMMON
    assert check_call({"_target_": "mtlsweep.losses.base.GramStrategy"}, "loss").items() >= COMMON.items()


@pytest.mark.parametrize("kind", [Fixed, Swapped])
def test_weighted_heads_receive_what_a_scalar_strategys_would(kind: type) -> None:
    weights = (1.0, -2.0)
    strategy = Fixed(*weights) if kind is Fixed else Swapped()
    strategy.heads = "weighted"
    model = network()
    step(model, strategy, factor=0.5)
    assert_same(gradients(model), plain_gradients(model, 1.0, -1.0))


def test_a_gradient_strategy_updates_the_trunk_and_leaves_heads_their_own() -> None:
    model = network()
    outcome = step(model, Swapped(), factor=0.5)
    weighted, own = plain_gradients(model, 1.0, -1.0), plain_gradients(model, 1.0, 0.5)
    assert_same(gradients(model), weighted[: in_trunk(model)] + own[in_trunk(model) :])
    assert (outcome.fine_weight.item(), outcome.coarse_weight.item()) == (1.0, -1.0)
    assert outcome.cosine.isfinite()


def test_memory_layout_of_the_gradients_does_not_matter() -> None:
    updates = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = network().to(memory_format=layout)
        step(model, Swapped())
        updates.append(gradients(model))
    assert_same(*updates)


@pytest.mark.parametrize("make_strategy", [lambda: Fixed(0.3, 2.0), Swapped])
@pytest.mark.parametrize("length", ["sum", "fine"])
def test_length_is_the_one_asked_for_and_the_direction_stays(make_strategy: Callable[[], Any], length: str) -> None:
    model = network()
    step(model, make_strategy())
    own = trunk_update(model)
    strategy = make_strategy()
    strategy.length = length
    outcome = step(model, strategy)
    fine, coarse = trunk_gradients(model)
    expected = (fine + coarse if length == "sum" else fine).norm()
    torch.testing.assert_close(trunk_update(model), own / own.norm() * expected)
    weighted = outcome.fine_weight * fine + outcome.coarse_weight * coarse
    torch.testing.assert_close(weighted, trunk_update(model))


@pytest.mark.parametrize("length", ["sum", "fine"])
def test_an_update_that_cancels_is_not_made_of_its_rounding(length: str) -> None:
    one = torch.randn(1000)
    for scale in (1e-8, 1.0, 1e8):
        for dtype in (torch.float32, torch.float64):
            both = (scale * torch.stack([one, -3 * one])).to(dtype)
            assert not rescale(both @ both.T, torch.tensor([0.75, 0.25], dtype=dtype), length).any()
            assert rescale(both @ both.T, torch.ones(2, dtype=dtype), length).isfinite().all()


BISECTOR = ["imtl_g", "nash_mtl", "config_grad", "mgda_unit"]


def test_bisector_family_gives_one_direction_and_at_one_length_one_training() -> None:
    directions, trained = [], []
    for name in BISECTOR:
        model = network()
        step(model, make(name))
        directions.append([trunk_update(model) / trunk_update(model).norm()])
        trained.append(train(make(name, length="sum")))
    for other in range(1, len(BISECTOR)):
        assert_same(directions[0], directions[other])
        assert_same(trained[0], trained[other])


def train(strategy: nn.Module, steps: int = 5, trunk_rate: float = 1.0, start: Callable[[], TwoHeads] = network) -> list[torch.Tensor]:
    """The parameters after some steps of SGD with momentum."""
    model = start()
    groups = [{"params": model.trunk.parameters(), "lr": 0.1 * trunk_rate}]
    groups += [{"params": chain(model.fine_head.parameters(), model.coarse_head.parameters()), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    program = step_program(Network(model), strategy)
    for number in range(steps):
        optimizer.zero_grad()
        program(batch(), Moment(0, 10, 1.0, number))
        optimizer.step()
    return list(model.parameters())


@pytest.mark.parametrize("start", [network, lambda: conflicting(network())], ids=["aligned", "conflicting"])
def test_pcgrad_trains_as_upgrad_at_twice_the_learning_rate(start: Callable[[], TwoHeads]) -> None:
    assert_same(train(make("pcgrad"), start=start), train(make("upgrad"), trunk_rate=2.0, start=start))


def test_pcgrad_trains_as_equal_while_nothing_conflicts() -> None:
    cosines = []
    for seed in range(50):

        def start(seed: int = seed) -> TwoHeads:
            model = network()
            torch.manual_seed(seed)
            nn.init.normal_(model.coarse_head.weight)
            return model

        model = start()
        cosines.append(step(model, make("pcgrad")).cosine.item())
        if cosines[-1] >= 0:
            assert_same(train(make("pcgrad"), steps=1, start=start), train(Equal(), steps=1, start=start))
        else:
            pcgrad, equal = train(make("pcgrad"), steps=1, start=start), train(Equal(), steps=1, start=start)
            assert any((one - other).abs().max() > 1e-9 for one, other in zip(pcgrad, equal, strict=True))
    assert min(cosines) < 0 < max(cosines)


class Counting(GramStrategy):
    """Weights that tell how often they were computed."""

    calls = 0

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        self.calls += 1
        self.gram = gram
        return torch.tensor([1.0, float(self.calls)])


def trunk_passes(model: TwoHeads, run: Callable[[], object]) -> int:
    """How often a backward pass went through the trunk."""
    passed: list[int] = []
    handle = next(model.trunk.parameters()).register_hook(lambda gradient: passed.append(1))
    run()
    handle.remove()
    return len(passed)


def test_refreshed_weights_are_kept_between_and_cost_one_backward_pass() -> None:
    model, strategy = network(), Counting(refresh=3, heads="weighted")
    program = step_program(Network(model), strategy)
    for number, weight in enumerate([1.0, 1.0, 1.0, 2.0, 2.0]):
        model.zero_grad()
        passes = trunk_passes(model, lambda number=number: program(batch(), Moment(0, 10, 1.0, number)))  # type: ignore[misc]
        assert passes == (1 if number % 3 else 2)
        assert_same(gradients(model), plain_gradients(model, 1.0, weight))
    assert strategy.calls == 2


def test_at_the_representation_the_gram_matrix_is_that_of_the_trunks_output() -> None:
    model, strategy = network(), Counting(scope="representation", heads="weighted")
    assert trunk_passes(model, lambda: step(model, strategy, factor=0.5)) == 1
    assert_same(gradients(model), plain_gradients(model, 1.0, 0.5))
    images, fine, coarse = batch()
    features = model.trunk(images).detach().requires_grad_()
    losses = (
        nn.functional.cross_entropy(model.fine_head(features), fine),
        0.5 * nn.functional.cross_entropy(model.coarse_head(features), coarse),
    )
    both = torch.stack([torch.autograd.grad(loss, features)[0].flatten() for loss in losses])
    torch.testing.assert_close(strategy.gram, both @ both.T)


def test_no_gradient_strategy_needs_a_third_backward_pass() -> None:
    for path in OPTIONS.glob("*.yaml"):
        strategy = build(call_of(path))
        if isinstance(strategy, GramStrategy | GradientStrategy):
            model = network()
            passes = trunk_passes(model, lambda: step(model, strategy))  # noqa: B023 (called at once)
            assert passes == (1 if strategy.scope == "representation" else 2), path.stem


@pytest.mark.parametrize(("name", "first"), [("pcgrad_mlsbench", 0), ("pcgrad_mlsbench_walked", 1)])
def test_the_benchmarks_pcgrad_projects_the_fine_head_too_and_leaves_the_coarse_one_untrained(name: str, first: int) -> None:
    """And, as executed with torch 2.11, the fine one's weight, which is the first of its parameters."""
    model = conflicting(network())
    untrained = [*model.coarse_head.parameters(), *list(model.fine_head.parameters())[:first]]
    parameters = [*model.trunk.parameters(), *list(model.fine_head.parameters())[first:]]
    images, fine_labels, coarse_labels = batch()
    fine_logits, coarse_logits = model(images)
    fine, coarse = (
        torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, found, strict=True)])
        for found in (
            torch.autograd.grad(nn.functional.cross_entropy(fine_logits, fine_labels), parameters, retain_graph=True),
            torch.autograd.grad(nn.functional.cross_entropy(coarse_logits, coarse_labels), parameters, allow_unused=True),
        )
    )
    product = fine @ coarse
    expected = fine - product / (coarse @ coarse) * coarse + coarse - product / (fine @ fine) * fine
    step(model, make(name))
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]), expected)
    assert all(parameter.grad is None for parameter in untrained)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("pcgrad", {"heads": "none"}, "heads must be one of own, weighted, got none"),
        ("pcgrad", {"length": "long"}, "length must be one of own, sum, fine, got long"),
        ("pcgrad", {"scope": "heads"}, "scope must be one of trunk, representation, fine_path, walked, got heads"),
        ("pcgrad", {"refresh": 0}, "refresh must be at least 1, got 0"),
        ("pcgrad_mlsbench", {"heads": "weighted"}, "scope=fine_path has the fine head among what is combined"),
        ("pcgrad_mlsbench_walked", {"heads": "weighted"}, "heads must be own"),
    ],
)
def test_an_impossible_option_is_refused(name: str, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError) as error:
        make(name, **options)
    assert fault in str(error.value)


def test_where_a_gradient_is_zero_there_is_no_angle() -> None:
    outcome = step(network(), make("pcgrad"), factor=0.0)
    assert outcome.cosine.isnan()
    assert outcome.conflict.isnan()
    assert outcome.fine_weight.item() == 1.0


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ((1.0, 1.0), "returned a tuple in place of"),
        (torch.ones(3), "returned one of shape (3,)"),
        (torch.ones(2).requires_grad_(), "with a gradient"),
    ],
)
def test_weights_of_the_wrong_kind_are_named(returned: Any, fault: str) -> None:
    strategy = Fixed(1.0, 1.0)
    strategy.fixed = returned
    with pytest.raises(UserError, match=r"Fixed.weights returned") as error:
        step(network(), strategy)
    assert fault in str(error.value)


def test_a_scalar_strategy_has_no_such_options() -> None:
    with pytest.raises(UserError, match=r"loss.length: no such key; mtlsweep.losses.equal.Equal has none"):
        make("equal", length="fine")


def test_losses_after_the_step_are_a_training_passs_and_leave_no_trace() -> None:
    model = network()
    wanted = [parameter.detach().clone() for parameter in plain_gradients(model, 1.0, 1.0)]
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    again = Network(model).losses_again(batch())
    assert all(statistics[name].equal(value) for name, value in model.named_buffers())
    assert not again.fine.requires_grad
    first = step(model, Equal())
    assert math.isclose(again.fine.item(), first.fine_loss.item())
    assert math.isclose(again.coarse.item(), first.coarse_loss.item())
    assert_same(gradients(model), wanted)
    assert not model.trunk[1].running_mean.equal(statistics["trunk.1.running_mean"])  # type: ignore[index]
