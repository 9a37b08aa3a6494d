"""A network small enough for gradients to be worked out by torch in the plainest way, and what tests compare them with."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtlsweep.losses import GramStrategy
from mtlsweep.models import TwoHeads
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.programs import step_program
from mtlsweep.train.steps import Moment, StepMetrics


def network() -> TwoHeads:
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TwoHeads(trunk, features=4, num_fine=6, num_coarse=3)


def batch() -> Batch:
    torch.manual_seed(2)
    return Batch(torch.randn(8, 3, 8, 8), torch.randint(0, 6, (8,)), torch.randint(0, 3, (8,)))


def step(model: TwoHeads, strategy: nn.Module, factor: float = 1.0, epoch: int = 0) -> StepMetrics:
    model.zero_grad()
    return step_program(Network(model), strategy)(batch(), Moment(epoch, 10, factor))


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


def trunk_gradients(model: TwoHeads) -> list[torch.Tensor]:
    in_trunk = len(list(model.trunk.parameters()))
    return [torch.cat([g.flatten() for g in plain_gradients(model, *weights)[:in_trunk]]) for weights in ((1.0, 0.0), (0.0, 1.0))]


def conflicting(model: TwoHeads) -> TwoHeads:
    """Make the coarse head's weights such that the two trunk gradients have a negative product."""
    for seed in range(100):
        torch.manual_seed(seed)
        nn.init.normal_(model.coarse_head.weight)
        fine, coarse = trunk_gradients(model)
        if fine @ coarse < 0:
            return model
    raise AssertionError("no conflict found")
