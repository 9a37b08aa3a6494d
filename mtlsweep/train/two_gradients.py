"""The gradients of both losses, apart from each other: as far as the trunk's output, or through the trunk."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vjp
from torch.nn.functional import cross_entropy

from mtlsweep.train.network import Batch, Losses, Network


class HeadGradients(NamedTuple):
    """Both losses, and the gradient of each with respect to the parameters of its head; the coarse one scaled by the curriculum."""

    losses: Losses
    fine: list[torch.Tensor]
    coarse: list[torch.Tensor]


class OutputGradients(NamedTuple):
    """A mini-batch on which the backward passes have come as far as the trunk's output.

    Attributes:
        heads: what lies behind.
        fine, coarse: what arrives from each loss, `(B, features)`.
        features: the trunk's output, from which it can be differentiated.
    """

    heads: HeadGradients
    fine: torch.Tensor
    coarse: torch.Tensor
    features: torch.Tensor


class TrunkGradients(NamedTuple):
    """A mini-batch on which both backward passes have been made.

    Attributes:
        heads: of the heads.
        fine, coarse: each loss's gradient of all the trunk's parameters, `(P,)`, as `flat` lays them.
    """

    heads: HeadGradients
    fine: torch.Tensor
    coarse: torch.Tensor


# What a compiled pass returns: a loss's gradients of its head and of the trunk, parameter by parameter.
Gradients = tuple[list[torch.Tensor], list[torch.Tensor]]
# Network, mini-batch, the curriculum's factor -> both losses, gradients of the fine and of the coarse one.
Differentiate = Callable[[Network, Batch, torch.Tensor], tuple[Losses, Gradients, Gradients]]


def to_output(network: Network, batch: Batch, factor: float | torch.Tensor) -> OutputGradients:
    """Differentiate the heads only.

    Args:
        network: in training.
        batch: the images and their labels.
        factor: of the curriculum, on the coarse loss.
    """
    return _to_output(network, network.features(batch.images), batch, factor)


def _to_output(network: Network, features: torch.Tensor, batch: Batch, factor: float | torch.Tensor) -> OutputGradients:
    # The heads' backward passes end here; the trunk's start from what arrives.
    output = features.detach().requires_grad_()
    losses = network.losses(output, batch)
    model = network.model
    of_fine = torch.autograd.grad(losses.fine, [output, *model.fine_head.parameters()], retain_graph=True)  # both may be one operation's
    of_coarse = torch.autograd.grad(factor * losses.coarse, [output, *model.coarse_head.parameters()])
    return OutputGradients(HeadGradients(losses.detached(), list(of_fine[1:]), list(of_coarse[1:])), of_fine[0], of_coarse[0], features)


def through(network: Network, batch: Batch, factor: float | torch.Tensor) -> TrunkGradients:
    """Differentiate heads and trunk: one forward pass, two backward passes on the same activations. Arguments as of `to_output`."""
    trunk = list(network.model.trunk.parameters())
    compiled = network.compiled_differentiate(batch)
    if compiled:
        with torch.no_grad():
            losses, (fine_head, fine), (coarse_head, coarse) = compiled(network.plain(), batch, torch.as_tensor(factor))
        return TrunkGradients(HeadGradients(losses, fine_head, coarse_head), flat(fine, trunk), flat(coarse, trunk))
    passed = network.pass_through(batch.images)
    if passed:
        features, pull_back = passed
        given = _to_output(network, features, batch, factor)
        return TrunkGradients(given.heads, *pull_back(torch.stack([given.fine, given.coarse])))
    given = to_output(network, batch, factor)
    first = torch.autograd.grad(given.features, trunk, given.fine, retain_graph=True)
    second = torch.autograd.grad(given.features, trunk, given.coarse)
    return TrunkGradients(given.heads, flat(first, trunk), flat(second, trunk))


def differentiate(network: Network, batch: Batch, factor: torch.Tensor) -> tuple[Losses, Gradients, Gradients]:
    """The same as a pure function but for BatchNorm's statistics, which it moves: for torch.compile, which then reads what a pass and its
    neighbour both need once."""
    trunk = network.model.trunk
    statistics = dict(trunk.named_buffers())

    def features_of(parameters: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        moved = {name: value.clone() for name, value in statistics.items()}
        with network.autocast():
            return functional_call(trunk, (parameters, moved), (batch.images,)), moved

    features, pull_back, moved = _differentiable(features_of, _values(trunk))
    fine_loss, fine_logits, at_output, fine_head = _through_head(network, network.model.fine_head, features, batch.fine)
    (fine,) = pull_back(at_output)
    coarse_loss, _, at_output, coarse_head = _through_head(network, network.model.coarse_head, features, batch.coarse, factor)
    (coarse,) = pull_back(at_output)
    for name, value in statistics.items():
        value.copy_(moved[name])
    losses = Losses(fine_loss, coarse_loss, network.correct(fine_logits, batch))
    return losses, (fine_head, list(fine.values())), (coarse_head, list(coarse.values()))


def _through_head(
    network: Network, head: nn.Module, features: torch.Tensor, labels: torch.Tensor, factor: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """A loss, its logits, and the gradients of the features and of the head's parameters, times the factor."""

    def loss_of(features: torch.Tensor, parameters: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        logits = network.logits_of(lambda given: functional_call(head, parameters, (given,)), features)
        return cross_entropy(logits, labels), logits

    loss, pull_back, logits = _differentiable(loss_of, features, _values(head))
    at_output, of_head = pull_back(torch.ones_like(loss) if factor is None else factor.to(loss.dtype))
    return loss, logits, at_output, list(of_head.values())


def _differentiable(function: Callable[..., tuple[torch.Tensor, Any]], *arguments: Any) -> tuple[torch.Tensor, Callable[..., Any], Any]:
    """A function's value, what pulls gradients of it back to the arguments, and what the function returned beside it."""
    value, pull_back, beside = vjp(function, *arguments, has_aux=True)  # type: ignore[misc]  # annotated without has_aux
    return value, pull_back, beside


def _values(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def flat(gradients: Sequence[torch.Tensor], parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """Gradients one after another in a vector `(P,)`, each in its parameter's order in memory.

    A few large operations on vectors take the place of hundreds of small ones.
    """
    return torch.cat([_in_memory_of(parameter, gradient) for gradient, parameter in zip(gradients, parameters, strict=True)])


def receive(parameters: Sequence[nn.Parameter], vector: torch.Tensor) -> None:
    """Make what `flat` made of gradients the parameters' `grad`s, which stay parts of the vector."""
    for parameter, part in zip(parameters, parts_of(vector, parameters), strict=True):
        parameter.grad = part


def parts_of(vector: torch.Tensor, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What `flat` made a vector of: its parts, in their parameters' shapes and memory order."""
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.as_strided(parameter.size(), parameter.stride()) for parameter, part in zip(parameters, parts, strict=True)]


def _in_memory_of(parameter: nn.Parameter, gradient: torch.Tensor) -> torch.Tensor:
    if gradient.stride() != parameter.stride():
        gradient = torch.empty_like(parameter, requires_grad=False).copy_(gradient)
    return gradient.as_strided((gradient.numel(),), (1,))
