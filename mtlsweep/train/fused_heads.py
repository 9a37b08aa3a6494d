"""Both heads and their losses as one operation forward and one backward (`two_losses`)."""

from typing import TYPE_CHECKING, Any

import torch

from mtlsweep.models import TwoHeads
from mtlsweep.train.network import Batch, Losses
from mtlsweep.train.once import once

if TYPE_CHECKING:
    from mtlsweep.train.kernels.two_losses import Head

# The kernels take features in such blocks.
MULTIPLE = 64


class FusedHeads:
    """From features to losses, in training, by kernels of our own.

    Args:
        model: whose heads; on its device.
    """

    def __init__(self, model: TwoHeads) -> None:
        self.parameters = [*model.fine_head.parameters(), *model.coarse_head.parameters()]
        device = self.parameters[0].device
        self.ticket = torch.zeros(1, dtype=torch.int32, device=device)
        self.nothing = torch.zeros((), device=device)

    def __call__(self, features: torch.Tensor, batch: Batch) -> Losses:
        """Features `(B, F)` -> the losses of a mini-batch."""
        return Losses(*_Losses.apply(self, features, batch.fine, batch.coarse, *self.parameters))


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, heads: FusedHeads, features: torch.Tensor, fine: torch.Tensor, coarse: torch.Tensor, *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        from mtlsweep.train.kernels import two_losses  # loads Triton

        features = features.contiguous()
        fine_loss, coarse_loss, correct, slopes = two_losses.losses(features, _both(fine, coarse, parameters), heads.ticket)
        ctx.nothing = heads.nothing
        ctx.set_materialize_grads(False)  # a head whose loss is not minimised has no gradient, and does not decay either
        ctx.mark_non_differentiable(correct)
        ctx.save_for_backward(features, fine, coarse, slopes, *parameters)
        return fine_loss, coarse_loss, correct

    @staticmethod
    @once
    def backward(ctx: Any, fine_arrives: torch.Tensor | None, coarse_arrives: torch.Tensor | None, _: None) -> Any:
        from mtlsweep.train.kernels import two_losses

        features, fine, coarse, slopes, *parameters = ctx.saved_tensors
        arrives = [ctx.nothing if given is None else given for given in (fine_arrives, coarse_arrives)]
        found = two_losses.gradients(features, _both(fine, coarse, parameters), slopes, (arrives[0], arrives[1]))
        of_fine, of_coarse = (
            (None, None) if given is None else pair
            for given, pair in zip((fine_arrives, coarse_arrives), (found[1:3], found[3:5]), strict=True)
        )
        return None, found[0], None, None, *of_fine, *of_coarse


def _both(fine: torch.Tensor, coarse: torch.Tensor, parameters: Any) -> "tuple[Head, Head]":
    from mtlsweep.train.kernels.two_losses import Head

    fine_weight, fine_bias, coarse_weight, coarse_bias = parameters
    return Head(fine_weight, fine_bias, fine), Head(coarse_weight, coarse_bias, coarse)
