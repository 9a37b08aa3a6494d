"""The network in the engine's precision: from images to features, from features to logits and losses."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from mtlsweep.models import TwoHeads

if TYPE_CHECKING:
    from mtlsweep.train.compilation import Compiled
    from mtlsweep.train.trunk import PullBack, Trunk
    from mtlsweep.train.two_gradients import Differentiate


class Batch(NamedTuple):
    """Normalised images `(B, 3, 32, 32)` and the labels `(B,)` of both tasks."""

    images: torch.Tensor
    fine: torch.Tensor
    coarse: torch.Tensor


class Losses(NamedTuple):
    """Mean cross-entropies of a mini-batch, and how many images the fine head classified correctly; scalar tensors."""

    fine: torch.Tensor
    coarse: torch.Tensor
    correct: torch.Tensor

    def detached(self) -> "Losses":
        """The same numbers without what they were computed from."""
        return Losses(self.fine.detach(), self.coarse.detach(), self.correct)


class Fused(NamedTuple):
    """Kernels of our own for what a model does.

    Attributes:
        trunk: images to features; None: as it is.
        losses: of features, in training; None: as they are.
    """

    trunk: "Trunk | None"
    losses: Callable[[torch.Tensor, Batch], Losses] | None


class Network:
    """A model and the context, autocast or none, that its forward passes run in.

    Trunk and heads are called apart, because gradient strategies differentiate them apart.
    """

    def __init__(
        self,
        model: TwoHeads,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        compiled: "Compiled | None" = None,
        fused: Fused | None = None,
    ) -> None:
        self.model = model
        self.autocast = autocast
        self._compiled = compiled
        self._fused = fused

    def plain(self) -> "Network":
        """The same, neither compiled nor fused."""
        return Network(self.model, self.autocast)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images `(B, 3, 32, 32)` -> the trunk's output `(B, features)`."""
        if self._fused and self._fused.trunk:
            return self._fused.trunk(images) if self.model.training else self._fused.trunk.infer(images)
        if self._compiled and self._compiled.has_features(images, self.model.training):
            with self.autocast():
                return self._compiled.trunk(images)
        return self._eager_features(images)

    def pass_through(self, images: torch.Tensor) -> "tuple[torch.Tensor, PullBack] | None":
        """Features in training and what pulls several gradients of them back at once, where there is such a thing."""
        return self._fused.trunk.pass_through(images) if self._fused and self._fused.trunk else None

    def compiled_differentiate(self, batch: Batch) -> "Differentiate | None":
        """What makes both gradients of this mini-batch, where that is compiled."""
        return self._compiled.differentiate if self._compiled and self._compiled.has_gradients(batch.images) else None

    def logits(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features -> fine and coarse logits, in fp32 at least: autocast's are bf16."""
        return self.logits_of(self.model.fine_head, features), self.logits_of(self.model.coarse_head, features)

    def logits_of(self, head: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor) -> torch.Tensor:
        """Features -> one head's logits, in fp32 at least."""
        with self.autocast():
            logits = head(features)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def losses(self, features: torch.Tensor, batch: Batch) -> Losses:
        """The losses of features."""
        if self._fused and self._fused.losses and self.model.training:
            return self._fused.losses(features, batch)
        fine, coarse = self.logits(features)
        return Losses(cross_entropy(fine, batch.fine), cross_entropy(coarse, batch.coarse), self.correct(fine.detach(), batch))

    @staticmethod
    def correct(fine_logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """How many images their fine logits classify correctly, as a number of the logits' type."""
        return (fine_logits.argmax(1) == batch.fine).sum().to(fine_logits.dtype)

    def losses_again(self, batch: Batch) -> Losses:
        """The losses of a mini-batch under the weights as they are now: of a training pass, without gradients and without a trace in
        BatchNorm's running statistics."""
        if self._fused and self._fused.trunk:
            with torch.no_grad():
                return self.losses(self._fused.trunk.features_again(batch.images), batch)
        with torch.no_grad(), _statistics_kept(self.model):
            return self.losses(self._eager_features(batch.images), batch)  # compiled, this would be a third kind of pass

    def _eager_features(self, images: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return self.model.trunk(images)


@contextmanager
def _statistics_kept(model: TwoHeads) -> Iterator[None]:
    """BatchNorm normalises with the mini-batch's statistics, as in training, and does not learn them."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
