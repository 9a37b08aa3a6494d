"""What a step program is, and that of scalar strategies: from a mini-batch to gradients on every parameter."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from mtlsweep.errors import UserError
from mtlsweep.losses.user import name_of
from mtlsweep.train.network import Batch, Losses, Network


class Moment(NamedTuple):
    """Where in the run a step is: 0-indexed epoch, length of the run, the curriculum's factor on the coarse loss (within a step a
    tensor on the device), 0-indexed step of the epoch."""

    epoch: int
    total_epochs: int
    coarse_factor: float | torch.Tensor
    step: int = 0


class StepMetrics(NamedTuple):
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
    ) -> "StepMetrics":
        """With the losses as they are before any curriculum, and the effective weights of the fine and the coarse one."""
        return cls(minimised, losses.fine.detach(), losses.coarse.detach(), losses.correct, *weights, conflict, cosine)


Step = Callable[[Batch, Moment], StepMetrics]


class ScalarStep:
    """One backward pass through the scalar that the strategy makes of the losses."""

    def __init__(self, network: Network, strategy: nn.Module) -> None:
        self.network = network
        self.strategy = strategy

    def __call__(self, batch: Batch, moment: Moment) -> StepMetrics:
        """Raises:
        UserError: the strategy returned something that cannot be minimised.
        """
        losses = self.network.losses(self.network.features(batch.images), batch)
        # The gradient that arrives at each loss is its effective weight, whatever the strategy computes; it costs nothing.
        losses.fine.retain_grad()
        losses.coarse.retain_grad()
        # A copy: a strategy may change what it is given in place, and what is recorded stays what the network did.
        minimised = self.strategy(losses.fine.clone(), moment.coarse_factor * losses.coarse, moment.epoch, moment.total_epochs)
        _check_scalar(self.strategy, minimised, losses.fine.device)
        minimised.reshape(()).backward()  # its shape may be (1,)
        weights = [torch.zeros_like(losses.correct) if loss.grad is None else loss.grad for loss in (losses.fine, losses.coarse)]
        unknown = torch.full_like(losses.correct, torch.nan)
        return StepMetrics.of(minimised.detach().sum(), losses, (weights[0], weights[1]), unknown, unknown)


def seen(losses: Losses, moment: Moment) -> torch.Tensor:
    """The losses as a strategy sees them, `(2,)`: the coarse one scaled by the curriculum."""
    return torch.stack([losses.fine, moment.coarse_factor * losses.coarse])


def check_finite(strategy: nn.Module, metrics: StepMetrics, which: str) -> None:
    """Check a step before which nothing can have diverged.

    Args:
        strategy: whose step it was.
        metrics: of the step; they are copied to the host, which waits for the device.
        which: tells the losses, for the message.

    Raises:
        UserError: of finite losses the strategy has made something that is NaN or infinite, or that has such derivatives.
    """
    value, fine_loss, coarse_loss, _, fine_weight, coarse_weight = torch.stack(metrics[:6]).tolist()
    if math.isfinite(fine_loss + coarse_loss) and not math.isfinite(value + fine_weight + coarse_weight):
        gave = f"{value:.4g} (derivatives {fine_weight:.4g} and {coarse_weight:.4g})"
        raise UserError(f"{name_of(strategy)} gave {gave} for the losses {which}, {fine_loss:.4g} and {coarse_loss:.4g}")


def _check_scalar(strategy: nn.Module, minimised: object, device: torch.device) -> None:
    fault = _fault(minimised, device)
    if fault:
        raise UserError(f"{name_of(strategy)}.forward returned {fault}")


def _fault(minimised: object, device: torch.device) -> str | None:
    if not isinstance(minimised, torch.Tensor):
        return f"a {type(minimised).__name__}: it must return a scalar tensor"
    if minimised.numel() != 1:
        return f"a tensor of shape {tuple(minimised.shape)}: it must return a scalar tensor"
    if minimised.device != device:
        return f"a tensor on {minimised.device}: it must stay where the losses are, on {device}"
    if not minimised.requires_grad:
        return "a tensor without a gradient: it must be computed from the losses, not from their values"
    return None
