"""What a step program is, and that of scalar strategies: from a mini-batch to gradients on every parameter."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from mtlsweep.errors import UserError
from mtlsweep.train.network import Batch, Losses, Network


class Moment(NamedTuple):
    """Where in the run a step is: 0-indexed epoch, length of the run, the curriculum's factor on the coarse loss, 0-indexed step of the
    epoch."""

    epoch: int
    total_epochs: int
    coarse_factor: float
    step: int = 0


class Outcome(NamedTuple):
    """What a step tells, as scalar tensors on the device; `conflict` (0 or 1) and `cosine` are NaN where the gradients are not known."""

    minimised: torch.Tensor
    fine_loss: torch.Tensor
    coarse_loss: torch.Tensor
    correct: torch.Tensor
    fine_weight: torch.Tensor
    coarse_weight: torch.Tensor
    conflict: torch.Tensor
    cosine: torch.Tensor

    @classmethod
    def of(
        cls,
        minimised: torch.Tensor,
        losses: Losses,
        weights: tuple[torch.Tensor, torch.Tensor],
        conflict: torch.Tensor,
        cosine: torch.Tensor,
    ) -> "Outcome":
        """With the losses as they are before any curriculum, and the effective weights of the fine and the coarse one."""
        return cls(minimised, losses.fine.detach(), losses.coarse.detach(), losses.correct, *weights, conflict, cosine)


Step = Callable[[Batch, Moment], Outcome]


class ScalarStep:
    """One backward pass through the scalar that the strategy makes of the losses."""

    def __init__(self, network: Network, strategy: nn.Module) -> None:
        self.network = network
        self.strategy = strategy

    def __call__(self, batch: Batch, moment: Moment) -> Outcome:
        """Raises:
        UserError: the strategy returned something that cannot be minimised.
        """
        losses = self.network.losses(self.network.features(batch.images), batch)
        # The gradient that arrives at each loss is its effective weight, whatever the strategy computes; it costs nothing.
        losses.fine.retain_grad()
        losses.coarse.retain_grad()
        minimised = self.strategy(losses.fine, moment.coarse_factor * losses.coarse, moment.epoch, moment.total_epochs)
        _check_scalar(self.strategy, minimised)
        minimised.sum().backward()  # of one element; its shape may be (1,)
        weights = [torch.zeros_like(losses.correct) if loss.grad is None else loss.grad for loss in (losses.fine, losses.coarse)]
        unknown = torch.full_like(losses.correct, torch.nan)
        return Outcome.of(minimised.detach().sum(), losses, (weights[0], weights[1]), unknown, unknown)


def _check_scalar(strategy: nn.Module, minimised: object) -> None:
    name = type(strategy).__name__
    if not isinstance(minimised, torch.Tensor):
        raise UserError(f"{name}.forward returned a {type(minimised).__name__}: it must return a scalar tensor")
    if minimised.numel() != 1:
        raise UserError(f"{name}.forward returned a tensor of shape {tuple(minimised.shape)}: it must return a scalar tensor")
    if not minimised.requires_grad:
        raise UserError(f"{name}.forward returned a tensor without a gradient: it must be computed from the losses, not from their values")
