"""The step programs of strategies that combine gradients: the trunk's are made apart from the heads', and at most twice."""

from typing import NamedTuple

import torch
from torch import nn

from mtlsweep.errors import UserError
from mtlsweep.losses import GradientStrategy, GramStrategy
from mtlsweep.losses.gram import length_factor, rescale
from mtlsweep.losses.user import name_of
from mtlsweep.train.network import Batch, Network
from mtlsweep.train.steps import Moment, Outcome


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


class TaskGradients(NamedTuple):
    """A loss's gradient as far as the head: of the trunk's output `(B, features)` and of each parameter of its head."""

    features: torch.Tensor
    head: list[torch.Tensor]


class Differentiated(NamedTuple):
    """A mini-batch on which the backward passes have come as far as the trunk's output.

    Attributes:
        features: the trunk's output, from which the trunk can be differentiated.
        fine, coarse: what arrives there from each loss.
        losses: as the strategy sees them, `(2,)`.
        moment: of the step.
    """

    features: torch.Tensor
    fine: TaskGradients
    coarse: TaskGradients
    losses: torch.Tensor
    moment: Moment


class GradientStep:
    """What the step programs of Gram and gradient strategies share: the heads."""

    def __init__(self, network: Network, strategy: GramStrategy | GradientStrategy) -> None:
        self.network = network
        self.strategy = strategy
        self.trunk = list(network.model.trunk.parameters())

    def __call__(self, batch: Batch, moment: Moment) -> Outcome:
        """The strategy's update in every parameter's `grad`."""
        model = self.network.model
        features = self.network.features(batch.images)
        # The heads' backward passes end here; the trunk's start from what arrives.
        output = features.detach().requires_grad_()
        losses = self.network.losses(output, batch)
        scaled = moment.coarse_factor * losses.coarse
        fine, coarse = _differentiate(losses.fine, output, model.fine_head), _differentiate(scaled, output, model.coarse_head)
        seen = torch.stack([losses.fine.detach(), scaled.detach()])
        known = self.update_trunk(Differentiated(features, fine, coarse, seen, moment))
        self._update_heads(fine, coarse, known.weights)
        effective = (known.weights[0], known.weights[1] * moment.coarse_factor)
        return Outcome.of(known.weights @ seen, losses, effective, known.conflict, known.cosine)

    def update_trunk(self, given: Differentiated) -> Weighing:
        """Put the update in the trunk's `grad`s."""
        raise NotImplementedError

    def trunk_gradients(self, given: Differentiated) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The gradients of the fine and of the coarse loss: two backward passes on the same activations."""
        fine = torch.autograd.grad(given.features, self.trunk, given.fine.features, retain_graph=True)
        return list(fine), list(torch.autograd.grad(given.features, self.trunk, given.coarse.features))

    def _update_heads(self, fine: TaskGradients, coarse: TaskGradients, weights: torch.Tensor) -> None:
        model, scope = self.network.model, self.strategy.scope
        own = self.strategy.heads == "own"
        _receive(model.fine_head, fine.head, None if own and scope != "fine_path" else weights[0])
        if scope != "fine_path":
            _receive(model.coarse_head, coarse.head, None if own else weights[1])


class GramStep(GradientStep):
    """Weights from the Gram matrix of the trunk's gradients, or of those of its output; between two refreshes, the last refresh's.

    One of the trunk's gradients is kept beside the other, and they are combined in place. Weights that are known before the trunk is
    differentiated need one backward pass only.
    """

    strategy: GramStrategy
    known: Weighing | None = None

    def update_trunk(self, given: Differentiated) -> Weighing:
        """Put the weighted sum in the trunk's `grad`s."""
        held = self.known if given.moment.step % self.strategy.refresh else None
        if held is None and self.strategy.scope != "representation":
            return self._hold(self._combine_trunk(given))
        fine, coarse = given.fine.features, given.coarse.features
        known = held or self._hold(self._weigh(gram_matrix([fine], [coarse]), given))
        given.features.backward(known.weights[0] * fine + known.weights[1] * coarse)
        return known

    def _hold(self, new: Weighing) -> Weighing:
        """Keep it where the last one lay: a recorded step that uses held weights looks for them there."""
        if self.known is None:
            self.known = Weighing(*(value.clone() for value in new))  # some of it may be the strategy's own memory
        else:
            for place, value in zip(self.known, new, strict=True):
                place.copy_(value)
        return self.known

    def _combine_trunk(self, given: Differentiated) -> Weighing:
        fine, coarse = self.trunk_gradients(given)
        gram = gram_matrix(fine, coarse)
        if self.strategy.scope == "fine_path":
            gram[0, 0] += _product(given.fine.head, given.fine.head)  # which the coarse loss does not reach
        known = self._weigh(gram, given)
        for parameter, one, other in zip(self.trunk, fine, coarse, strict=True):
            parameter.grad = one.mul_(known.weights[0]).add_(other.mul_(known.weights[1]))
        return known

    def _weigh(self, gram: torch.Tensor, given: Differentiated) -> Weighing:
        moment = given.moment
        weights = self.strategy.weights(gram, given.losses, moment.epoch, moment.total_epochs)
        _check(self.strategy, "weights", weights, gram.diagonal())
        return Weighing.of(gram, rescale(gram, weights, self.strategy.length))


class CombineStep(GradientStep):
    """The strategy combines the trunk's two gradients as vectors; two more of their size are held meanwhile."""

    strategy: GradientStrategy

    def update_trunk(self, given: Differentiated) -> Weighing:
        """Put the strategy's update in the trunk's `grad`s."""
        fine, coarse = self.trunk_gradients(given)
        gram, moment = gram_matrix(fine, coarse), given.moment
        fine_vector, coarse_vector = (torch.cat([one.reshape(-1) for one in task]) for task in (fine, coarse))
        update, weights = self.strategy.combine(fine_vector, coarse_vector, given.losses, moment.epoch, moment.total_epochs)
        _check(self.strategy, "combine", update, fine_vector)
        _check(self.strategy, "combine", weights, gram.diagonal())
        factor = length_factor(gram, update, self.strategy.length)
        for parameter, part in zip(self.trunk, (update * factor).split([one.numel() for one in fine]), strict=True):
            parameter.grad = part.view_as(parameter)
        return Weighing.of(gram, weights * factor)


def _check(strategy: nn.Module, method: str, given: object, like: torch.Tensor) -> None:
    """Raise a UserError unless it is a tensor of the same shape, where the other is. Its values are not looked at."""
    wanted = f"a tensor of shape {tuple(like.shape)} on {like.device}, without a gradient"
    if not isinstance(given, torch.Tensor):
        raise UserError(f"{name_of(strategy)}.{method} returned a {type(given).__name__} in place of {wanted}")
    if given.shape != like.shape or given.device != like.device or given.requires_grad:
        found = f"shape {tuple(given.shape)} on {given.device}{', with a gradient' if given.requires_grad else ''}"
        raise UserError(f"{name_of(strategy)}.{method} returned one of {found} in place of {wanted}")


def gram_matrix(fine: list[torch.Tensor], coarse: list[torch.Tensor]) -> torch.Tensor:
    """The inner products `(2, 2)` of two gradients, each a list of tensors."""
    mixed = _product(fine, coarse)
    return torch.stack([_product(fine, fine), mixed, mixed, _product(coarse, coarse)]).view(2, 2)


def _product(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
    # In fp32 at least: the gradient of the trunk's output is bf16 under autocast.
    precision = torch.promote_types(left[0].dtype, torch.float32)
    return torch.stack([(one.to(precision) * other.to(precision)).sum() for one, other in zip(left, right, strict=True)]).sum()


def _differentiate(loss: torch.Tensor, features: torch.Tensor, head: nn.Module) -> TaskGradients:
    gradient, *parameters = torch.autograd.grad(loss, [features, *head.parameters()])
    return TaskGradients(gradient, parameters)


def _receive(head: nn.Module, gradients: list[torch.Tensor], weight: torch.Tensor | None) -> None:
    for parameter, gradient in zip(head.parameters(), gradients, strict=True):
        parameter.grad = gradient if weight is None else gradient * weight
