"""The trunk compiled by torch.compile: fewer and larger kernels, for the mini-batch of the training and that of the evaluation.

Compiled code is kept by torch, in the process and on disk, by what it computes: one architecture in one precision is compiled once.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
import torch._dynamo.config
import torch._functorch.config
import torch._inductor.config
from torch import nn

from mtlsweep.models import TwoHeads


@dataclass(frozen=True)
class CompiledTrunk:
    """A compiled trunk, for mini-batches of two sizes only: any other would be compiled anew."""

    trunk: Callable[[torch.Tensor], torch.Tensor]
    train_batch: int
    eval_batch: int

    def fits(self, images: torch.Tensor, training: bool) -> bool:
        """Whether this mini-batch is of the size that was compiled."""
        return len(images) == (self.train_batch if training else self.eval_batch)


def compile_trunk(
    model: TwoHeads, images: torch.Tensor, eval_batch: int, autocast: Callable[[], AbstractContextManager[object]]
) -> CompiledTrunk:
    """Compile a model's trunk, forward and backward; this takes from seconds to minutes.

    Args:
        model: on its device and in its memory layout; left as it is.
        images: a mini-batch like those of the training, `(B, 3, 32, 32)`.
        eval_batch: images of a mini-batch of the evaluation.
        autocast: the context of a forward pass.

    Raises:
        Exception: of many types, where there is no compiler or it fails.
    """
    _prepare()
    trunk = torch.compile(model.trunk, dynamic=False)
    evaluated = images[:1].expand(eval_batch, -1, -1, -1).contiguous(memory_format=_layout(images))
    with _untouched(model):
        with autocast():
            features = trunk(images)
        torch.autograd.grad(features.float().sum(), list(model.trunk.parameters()))
        model.eval()
        with autocast(), torch.no_grad():
            trunk(evaluated)
    return CompiledTrunk(trunk, len(images), eval_batch)


def _prepare() -> None:
    # Gradient strategies go backward twice on the same activations, which the first pass must therefore not overwrite. For all strategies,
    # so that they share the compiled code.
    torch._functorch.config.donated_buffer = False
    # A sweep compiles several architectures in several precisions; beyond this number torch goes on without compiling.
    torch._dynamo.config.recompile_limit = 64
    # The same sums in the same order every time: no kernel is chosen by a race between candidates.
    if hasattr(torch._inductor.config, "deterministic"):
        torch._inductor.config.deterministic = True
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # which warns that a CPU is no GPU


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """What a forward pass changes, BatchNorm's statistics and the mode, is put back."""
    training = model.training
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
        model.train(training)


def _layout(images: torch.Tensor) -> torch.memory_format:
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
