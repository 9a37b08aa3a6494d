"""The step programs: from a mini-batch to gradients on every parameter. One for each kind of strategy, shared by all of the kind."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtlsweep.errors import UserError
from mtlsweep.losses import GramStrategy
from mtlsweep.models import TwoHeads


class Batch(NamedTuple):
    """Normalised images `(B, 3, 32, 32)` and the labels `(B,)` of both tasks."""

    images: torch.Tensor
    fine: torch.Tensor
    coarse: torch.Tensor


class Moment(NamedTuple):
    """Where in the run a step is: 0-indexed epoch, length of the run, the curriculum's factor on the coarse loss."""

    epoch: int
    total_epochs: int
    coarse_factor: float


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


Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Step = Callable[[Forward, TwoHeads, nn.Module, Batch, Moment], Outcome]


def step_program(strategy: nn.Module) -> Step:
    """The step program of a strategy's kind."""
    return gram_step if isinstance(strategy, GramStrategy) else scalar_step


def scalar_step(forward: Forward, model: TwoHeads, strategy: nn.Module, batch: Batch, moment: Moment) -> Outcome:
    """One backward pass through the scalar that the strategy makes of the losses.

    Raises:
        UserError: the strategy returned something that cannot be minimised.
    """
    fine_loss, coarse_loss, correct = _losses(forward, batch)
    # The gradient that arrives at each loss is its effective weight, whatever the strategy computes; it costs nothing.
    fine_loss.retain_grad()
    coarse_loss.retain_grad()
    minimised = strategy(fine_loss, moment.coarse_factor * coarse_loss, moment.epoch, moment.total_epochs)
    _check_scalar(strategy, minimised)
    minimised.sum().backward()  # of one element; its shape may be (1,)
    unknown = torch.full_like(correct, torch.nan)
    weights = [torch.zeros_like(correct) if loss.grad is None else loss.grad for loss in (fine_loss, coarse_loss)]
    return Outcome(minimised.detach().sum(), fine_loss.detach(), coarse_loss.detach(), correct, weights[0], weights[1], unknown, unknown)


def gram_step(forward: Forward, model: TwoHeads, strategy: nn.Module, batch: Batch, moment: Moment) -> Outcome:
    """Two backward passes on the same activations; the trunk's gradients are combined, each head keeps its own."""
    assert isinstance(strategy, GramStrategy)
    fine_loss, coarse_loss, correct = _losses(forward, batch)
    scaled = moment.coarse_factor * coarse_loss
    trunk = list(model.trunk.parameters())
    fine = _gradients(fine_loss, trunk, model.fine_head, retain_graph=True)
    coarse = _gradients(scaled, trunk, model.coarse_head, retain_graph=False)
    gram = _gram(fine, coarse)
    losses = torch.stack([fine_loss.detach(), scaled.detach()])
    weights = strategy.weights(gram, losses, moment.epoch, moment.total_epochs)
    for parameter, fine_gradient, coarse_gradient in zip(trunk, fine, coarse, strict=True):
        parameter.grad = fine_gradient.mul_(weights[0]).add_(coarse_gradient.mul_(weights[1]))
    product, norms = gram[0, 1], gram.diagonal().sqrt()
    cosine = product / norms.prod().clamp_min(torch.finfo(product.dtype).tiny)
    effective = (weights[0], weights[1] * moment.coarse_factor)
    return Outcome(weights @ losses, losses[0], coarse_loss.detach(), correct, *effective, (product < 0).to(product.dtype), cosine)


def _losses(forward: Forward, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    fine_logits, coarse_logits = forward(batch.images)
    # In fp32 at least, whatever the network's precision: autocast's logits are bf16.
    precision = torch.promote_types(fine_logits.dtype, torch.float32)
    correct = (fine_logits.detach().argmax(1) == batch.fine).sum().to(precision)
    return cross_entropy(fine_logits.to(precision), batch.fine), cross_entropy(coarse_logits.to(precision), batch.coarse), correct


def _gradients(loss: torch.Tensor, trunk: list[nn.Parameter], head: nn.Module, retain_graph: bool) -> list[torch.Tensor]:
    """The trunk's gradients; the head's are put in their place."""
    own = list(head.parameters())
    gradients = torch.autograd.grad(loss, trunk + own, retain_graph=retain_graph)
    for parameter, gradient in zip(own, gradients[len(trunk) :], strict=True):
        parameter.grad = gradient
    return list(gradients[: len(trunk)])


def _gram(fine: list[torch.Tensor], coarse: list[torch.Tensor]) -> torch.Tensor:
    def product(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([(one * other).sum() for one, other in zip(left, right, strict=True)]).sum()

    mixed = product(fine, coarse)
    return torch.stack([product(fine, fine), mixed, mixed, product(coarse, coarse)]).view(2, 2)


def _check_scalar(strategy: nn.Module, minimised: object) -> None:
    name = type(strategy).__name__
    if not isinstance(minimised, torch.Tensor):
        raise UserError(f"{name}.forward returned a {type(minimised).__name__}: it must return a scalar tensor")
    if minimised.numel() != 1:
        raise UserError(f"{name}.forward returned a tensor of shape {tuple(minimised.shape)}: it must return a scalar tensor")
    if not minimised.requires_grad:
        raise UserError(f"{name}.forward returned a tensor without a gradient: it must be computed from the losses, not from their values")
