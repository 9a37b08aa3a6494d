"""The network in the engine's precision: from images to features, from features to logits and losses."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from mtlsweep.models import TwoHeads
from mtlsweep.train.compilation import CompiledTrunk


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


class Network:
    """A model and the context, autocast or none, that its forward passes run in.

    Trunk and heads are called apart, because gradient strategies differentiate them apart.
    """

    def __init__(
        self,
        model: TwoHeads,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        compiled: CompiledTrunk | None = None,
    ) -> None:
        self.model = model
        self._autocast = autocast
        self._compiled = compiled

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images `(B, 3, 32, 32)` -> the trunk's output `(B, features)`."""
        if self._compiled and self._compiled.fits(images, self.model.training):
            with self._autocast():
                return self._compiled.trunk(images)
        return self._eager_features(images)

    def logits(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features -> fine and coarse logits, in fp32 at least: autocast's are bf16."""
        with self._autocast():
            fine, coarse = self.model.fine_head(features), self.model.coarse_head(features)
        precision = torch.promote_types(fine.dtype, torch.float32)
        return fine.to(precision), coarse.to(precision)

    def losses(self, features: torch.Tensor, batch: Batch) -> Losses:
        """The losses of features."""
        fine, coarse = self.logits(features)
        correct = (fine.detach().argmax(1) == batch.fine).sum().to(fine.dtype)
        return Losses(cross_entropy(fine, batch.fine), cross_entropy(coarse, batch.coarse), correct)

    def losses_again(self, batch: Batch) -> Losses:
        """The losses of a mini-batch under the weights as they are now: of a training pass, without gradients and without a trace in
        BatchNorm's running statistics."""
        with torch.no_grad(), _statistics_kept(self.model):
            return self.losses(self._eager_features(batch.images), batch)  # compiled, this would be a third kind of pass

    def _eager_features(self, images: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            return self.model.trunk(images)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises with the mini-batch's statistics, as in training, and does not learn them."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
