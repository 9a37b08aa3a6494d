"""The step programs of strategies that combine gradients: the trunk's are made apart from the heads', and at most twice."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from mtlsweep.errors import UserError
from mtlsweep.losses import GradientStrategy, GramStrategy
from mtlsweep.losses.base import FINE_PATHS
from mtlsweep.losses.gram import length_factor, rescale
from mtlsweep.losses.user import name_of
from mtlsweep.train.network import Batch, Losses, Network
from mtlsweep.train.steps import Moment, StepMetrics, seen
from mtlsweep.train.two_gradients import HeadGradients, TrunkGradients, receive, through, to_output


class Weighing(NamedTuple):
    """What is known of the two gradients: the weights `(2,)` of the strategy, whether they conflict (0 or 1), their cosine."""

    weights: torch.Tensor
    conflict: torch.Tensor
    cosine: torch.Tensor

    @classmethod
    def of(cls, gram: torch.Tensor, weights: torch.Tensor) -> "Weighing":
        """From the gradients' Gram matrix `(2, 2)`. Where a gradient is zero there is no angle, and both are NaN."""
        product, norms = gram[0, 1], gram.diagonal().sqrt()
        defined = (norms > 0).all()
        cosine = torch.where(defined, product / norms.prod().clamp_min(torch.finfo(product.dtype).tiny), torch.nan)
        return cls(weights, torch.where(defined, (product < 0).to(product.dtype), torch.nan), cosine)


class GradientStep:
    """What the step programs of Gram and gradient strategies share: the heads, and what is told of a step."""

    def __init__(self, network: Network, strategy: GramStrategy | GradientStrategy) -> None:
        self.network = network
        self.strategy = strategy
        self.trunk = list(network.model.trunk.parameters())

    def __call__(self, batch: Batch, moment: Moment) -> StepMetrics:
        """The strategy's update in every parameter's `grad`."""
        heads, known = self.update_trunk(batch, moment)
        self._update_heads(heads, known.weights)
        effective = (known.weights[0], known.weights[1] * moment.coarse_factor)
        return StepMetrics.of(known.weights @ seen(heads.losses, moment), heads.losses, effective, known.conflict, known.cosine)

    def update_trunk(self, batch: Batch, moment: Moment) -> tuple[HeadGradients, Weighing]:
        """Put the update in the trunk's `grad`s."""
        raise NotImplementedError

    def _update_heads(self, gradients: HeadGradients, weights: torch.Tensor) -> None:
        model, own = self.network.model, self.strategy.heads == "own"
        if self.strategy.scope in FINE_PATHS:
            _receive(self._combined(model.fine_head.parameters()), self._combined(gradients.fine), weights[0])
            return
        _receive(model.fine_head.parameters(), gradients.fine, None if own else weights[0])
        _receive(model.coarse_head.parameters(), gradients.coarse, None if own else weights[1])

    def _combined(self, of_fine_head: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """Those of a fine head's parameters, weight and bias, or of their gradients, that the update has beside the trunk's."""
        first = FINE_PATHS.get(self.strategy.scope)
        return [] if first is None else list(of_fine_head)[first:]


class GramStep(GradientStep):
    """Weights from the Gram matrix of the trunk's gradients, or of those of its output; between two refreshes, the last refresh's.

    Weights that are known before the trunk is differentiated need one backward pass only.
    """

    strategy: GramStrategy
    known: Weighing | None = None

    def update_trunk(self, batch: Batch, moment: Moment) -> tuple[HeadGradients, Weighing]:
        """Put the weighted sum in the trunk's `grad`s."""
        held = self.known if moment.step % self.strategy.refresh else None
        if held is None and self.strategy.scope != "representation":
            return self._combine_trunk(through(self.network, batch, moment.coarse_factor), moment)
        given = to_output(self.network, batch, moment.coarse_factor)
        known = held or self._weigh(gram_matrix(given.fine, given.coarse), given.heads.losses, moment)
        given.features.backward(known.weights[0] * given.fine + known.weights[1] * given.coarse)
        return given.heads, known

    def _combine_trunk(self, given: TrunkGradients, moment: Moment) -> tuple[HeadGradients, Weighing]:
        """In place: one of the gradients becomes the update."""
        gram = gram_matrix(given.fine, given.coarse)
        if of_head := self._combined(given.heads.fine):
            gram[0, 0] += sum(_product(one, one) for one in of_head)  # which the coarse loss does not reach
        known = self._weigh(gram, given.heads.losses, moment)
        receive(self.trunk, given.fine.mul_(known.weights[0]).add_(given.coarse.mul_(known.weights[1])))
        return given.heads, known

    def _weigh(self, gram: torch.Tensor, losses: Losses, moment: Moment) -> Weighing:
        weights = self.strategy.weights(gram, seen(losses, moment), moment.epoch, moment.total_epochs)
        _check(self.strategy, "weights", weights, gram.diagonal())
        return self._hold(Weighing.of(gram, rescale(gram, weights, self.strategy.length)))

    def _hold(self, new: Weighing) -> Weighing:
        """Keep it where the last one lay: a recorded step that uses held weights looks for them there."""
        if self.known is None:
            self.known = Weighing(*(value.clone() for value in new))  # some of it may be the strategy's own memory
        else:
            for place, value in zip(self.known, new, strict=True):
                place.copy_(value)
        return self.known


class CombineStep(GradientStep):
    """The strategy combines the trunk's two gradients as vectors."""

    strategy: GradientStrategy

    def update_trunk(self, batch: Batch, moment: Moment) -> tuple[HeadGradients, Weighing]:
        """Put the strategy's update in the trunk's `grad`s."""
        given = through(self.network, batch, moment.coarse_factor)
        gram, losses = gram_matrix(given.fine, given.coarse), seen(given.heads.losses, moment)
        update, weights = self.strategy.combine(given.fine, given.coarse, losses, moment.epoch, moment.total_epochs)
        _check(self.strategy, "combine", update, given.fine)
        _check(self.strategy, "combine", weights, gram.diagonal())
        factor = length_factor(gram, update, self.strategy.length)
        receive(self.trunk, update * factor)
        return given.heads, Weighing.of(gram, weights * factor)


def _check(strategy: nn.Module, method: str, given: object, like: torch.Tensor) -> None:
    """Raise a UserError unless it is a tensor of the same shape on the same device. Its values are not looked at."""
    wanted = f"a tensor of shape {tuple(like.shape)} on {like.device}, without a gradient"
    if not isinstance(given, torch.Tensor):
        raise UserError(f"{name_of(strategy)}.{method} returned a {type(given).__name__} in place of {wanted}")
    if given.shape != like.shape or given.device != like.device or given.requires_grad:
        found = f"shape {tuple(given.shape)} on {given.device}{', with a gradient' if given.requires_grad else ''}"
        raise UserError(f"{name_of(strategy)}.{method} returned one of {found} in place of {wanted}")


def gram_matrix(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """The inner products `(2, 2)` of two gradients."""
    mixed = _product(fine, coarse)
    return torch.stack([_product(fine, fine), mixed, mixed, _product(coarse, coarse)]).view(2, 2)


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    # In fp32 at least: the gradient of the trunk's output is bf16 under autocast.
    precision = torch.promote_types(left.dtype, torch.float32)
    return (left.to(precision) * right.to(precision)).sum()


def _receive(parameters: Iterable[torch.Tensor], gradients: Iterable[torch.Tensor], weight: torch.Tensor | None) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient if weight is None else gradient * weight
