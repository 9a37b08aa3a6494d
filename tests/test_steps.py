"""The step programs, against gradients worked out by torch in the plainest way."""

from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtlsweep.errors import UserError
from mtlsweep.losses import GramStrategy, ScalarStrategy
from mtlsweep.losses.equal import Equal
from mtlsweep.losses.fine_only import FineOnly
from mtlsweep.losses.haw import HAW
from mtlsweep.losses.pcgrad import PCGrad
from mtlsweep.losses.uncertainty import Uncertainty
from mtlsweep.models import TwoHeads
from mtlsweep.train.steps import Batch, Moment, Outcome, step_program


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def network() -> TwoHeads:
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TwoHeads(trunk, features=4, num_fine=6, num_coarse=3)


def batch() -> Batch:
    torch.manual_seed(2)
    return Batch(torch.randn(8, 3, 8, 8), torch.randint(0, 6, (8,)), torch.randint(0, 3, (8,)))


def step(model: TwoHeads, strategy: nn.Module, factor: float = 1.0, epoch: int = 0) -> Outcome:
    model.zero_grad()
    return step_program(strategy)(model, model, strategy, batch(), Moment(epoch, 10, factor))


def plain_gradients(model: TwoHeads, fine_weight: float, coarse_weight: float) -> list[torch.Tensor]:
    images, fine, coarse = batch()
    fine_logits, coarse_logits = model(images)
    loss = fine_weight * cross_entropy(fine_logits, fine) + coarse_weight * cross_entropy(coarse_logits, coarse)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def gradients(model: TwoHeads) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def assert_same(left: list[torch.Tensor], right: list[torch.Tensor]) -> None:
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


class Fixed(GramStrategy):
    """Given weights, whatever the gradients."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.fixed = torch.tensor(weights)

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return self.fixed


def test_scalar_step_is_the_gradient_of_the_weighted_sum() -> None:
    model = network()
    outcome = step(model, Equal(), factor=0.3)
    assert_same(gradients(model), plain_gradients(model, 1.0, 0.3))
    assert (outcome.fine_weight.item(), outcome.coarse_weight.item()) == (1.0, pytest.approx(0.3))
    assert outcome.minimised.item() == pytest.approx(outcome.fine_loss.item() + 0.3 * outcome.coarse_loss.item())


def test_fine_only_never_trains_the_coarse_head() -> None:
    model = network()
    outcome = step(model, FineOnly())
    assert all(parameter.grad is None for parameter in model.coarse_head.parameters())
    assert (outcome.fine_weight.item(), outcome.coarse_weight.item()) == (1.0, 0.0)


def test_effective_weights_are_the_derivatives_of_what_is_minimised() -> None:
    strategy = Uncertainty()
    with torch.no_grad():
        strategy.log_variances.copy_(torch.tensor([0.5, -0.7]))
    model = network()
    outcome = step(model, strategy, factor=0.5)
    fine_weight, coarse_weight = torch.exp(torch.tensor([-0.5, 0.7])).tolist()
    assert outcome.fine_weight.item() == pytest.approx(fine_weight)
    assert outcome.coarse_weight.item() == pytest.approx(0.5 * coarse_weight)
    assert_same(gradients(model), plain_gradients(model, fine_weight, 0.5 * coarse_weight))


def test_gram_step_with_unit_weights_is_the_sum() -> None:
    model = network()
    step(model, Fixed(1.0, 1.0))
    assert_same(gradients(model), plain_gradients(model, 1.0, 1.0))


def test_gram_step_weighs_the_trunk_and_leaves_heads_their_own() -> None:
    model = network()
    outcome = step(model, Fixed(0.25, 3.0), factor=0.5)
    weighted, own = plain_gradients(model, 0.25, 1.5), plain_gradients(model, 1.0, 0.5)
    in_trunk = len(list(model.trunk.parameters()))
    assert_same(gradients(model), weighted[:in_trunk] + own[in_trunk:])
    assert (outcome.fine_weight.item(), outcome.coarse_weight.item()) == (0.25, 1.5)


def trunk_gradients(model: TwoHeads) -> list[torch.Tensor]:
    in_trunk = len(list(model.trunk.parameters()))
    return [torch.cat([g.flatten() for g in plain_gradients(model, *weights)[:in_trunk]]) for weights in ((1.0, 0.0), (0.0, 1.0))]


def test_gram_matrix_is_that_of_the_trunk_gradients() -> None:
    seen = []

    class Recording(Fixed):
        def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
            seen.append(gram)
            return self.fixed

    model = network()
    outcome = step(model, Recording(1.0, 1.0))
    both = torch.stack(trunk_gradients(model))
    torch.testing.assert_close(seen[0], both @ both.T)
    assert outcome.cosine.item() == pytest.approx(torch.cosine_similarity(both[0], both[1], dim=0).item())
    assert outcome.conflict.item() == float(outcome.cosine.item() < 0)


def conflicting(model: TwoHeads) -> TwoHeads:
    """Make the coarse head's weights such that the two trunk gradients have a negative product."""
    for seed in range(100):
        torch.manual_seed(seed)
        nn.init.normal_(model.coarse_head.weight)
        fine, coarse = trunk_gradients(model)
        if fine @ coarse < 0:
            return model
    raise AssertionError("no conflict found")


def test_pcgrad_projects_when_gradients_conflict_and_else_is_the_sum() -> None:
    model = conflicting(network())
    fine, coarse = trunk_gradients(model)
    product = fine @ coarse
    expected = fine - product / (coarse @ coarse) * coarse + coarse - product / (fine @ fine) * fine
    outcome = step(model, PCGrad())
    assert outcome.conflict.item() == 1.0
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in model.trunk.parameters() if p.grad is not None]), expected)
    with torch.no_grad():
        model.coarse_head.weight.neg_()  # turns the coarse trunk gradient's part through the weights around
    if trunk_gradients(model)[0] @ trunk_gradients(model)[1] >= 0:
        step(model, PCGrad())
        assert_same(gradients(model), plain_gradients(model, 1.0, 1.0))


def test_batchnorm_statistics_move_once_a_step() -> None:
    for strategy in (Equal(), PCGrad()):
        model = network()
        step(model, strategy)
        assert model.trunk[1].num_batches_tracked == 1  # type: ignore[index]


def test_haw_and_uncertainty_under_a_quadratic_curriculum_train_alike() -> None:
    """Through real optimizer steps: the same network, the same strategy parameters."""
    trained: list[list[torch.Tensor]] = []
    for strategy, fade in ((HAW(), False), (Uncertainty(), True)):
        model = network()
        optimizer = torch.optim.SGD(chain(model.parameters(), strategy.parameters()), lr=0.1, momentum=0.9)
        for epoch in range(10):
            step(model, strategy, factor=(1 - epoch / 10) ** 2 if fade else 1.0, epoch=epoch)
            optimizer.step()
            optimizer.zero_grad()
        trained.append([*model.parameters(), *strategy.parameters()])
    assert_same(*trained)


class Wrong(ScalarStrategy):
    """Returns what it is told to."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, fine_loss: torch.Tensor, coarse_loss: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        return self.value  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (1.5, "returned a float"),
        (torch.ones(2, requires_grad=True), "returned a tensor of shape (2,)"),
        (torch.tensor(1.0), "returned a tensor without a gradient"),
    ],
)
def test_what_cannot_be_minimised_is_named(value: object, fault: str) -> None:
    with pytest.raises(UserError) as error:
        step(network(), Wrong(value))
    assert f"Wrong.forward {fault}" in str(error.value)


def test_a_scalar_of_shape_one_is_a_scalar() -> None:
    class OfShapeOne(Equal):
        def forward(self, *arguments: object) -> torch.Tensor:
            return super().forward(*arguments).view(1)  # type: ignore[arg-type]

    model = network()
    step(model, OfShapeOne())
    assert_same(gradients(model), plain_gradients(model, 1.0, 1.0))
