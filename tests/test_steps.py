"""The step programs, against gradients worked out by torch in the plainest way."""

from itertools import chain

import pytest
import torch
from small_network import Fixed, assert_same, batch, conflicting, gradients, network, plain_gradients, step, trunk_gradients

from mtlsweep.errors import UserError
from mtlsweep.losses import GramStrategy, ScalarStrategy
from mtlsweep.losses.equal import Equal
from mtlsweep.losses.fine_only import FineOnly
from mtlsweep.losses.haw import HAW
from mtlsweep.losses.pcgrad import PCGrad
from mtlsweep.losses.uncertainty import Uncertainty
from mtlsweep.train.network import Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment

pytestmark = pytest.mark.usefixtures("double_precision")


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


class Alternating(GramStrategy):
    """Its own memory in one step, others in the next."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("equal", torch.ones(2))
        self.steps = 0

    def weights(self, gram: torch.Tensor, losses: torch.Tensor, epoch: int, total_epochs: int) -> torch.Tensor:
        self.steps += 1
        return self.get_buffer("equal") if self.steps % 2 else torch.tensor([5.0, 0.0])


def test_weights_that_are_the_strategys_own_memory_stay_as_they_are() -> None:
    model, strategy = network(), Alternating()
    program = step_program(Network(model), strategy)
    # Read at once: the next step writes its own where these lie.
    weights = [program(batch(), Moment(0, 10, 1.0, number)).fine_weight.item() for number in range(4)]
    assert weights == [1, 5, 1, 5]
    assert strategy.get_buffer("equal").tolist() == [1, 1]


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
