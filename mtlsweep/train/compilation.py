"""The passes through the trunk, compiled by torch.compile: fewer and larger kernels, for the mini-batches of training and evaluation.

Compiled code is kept by torch, in the process and on disk, by what it computes: one architecture in one precision is compiled once.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from mtlsweep.train.network import Batch, Network
from mtlsweep.train.two_gradients import Differentiate, differentiate, through

KEPT = "activations are kept"  # in the keys of torch's cache on disk


@dataclass(frozen=True)
class Compiled:
    """The passes of a network that are compiled, for mini-batches of two sizes only: any other would be compiled anew.

    Attributes:
        trunk: of the evaluation, and of the training where `backward_passes` has 1.
        differentiate: makes both losses' gradients, where it has 2.
        backward_passes: through the trunk, of the training's steps.
    """

    trunk: Callable[[torch.Tensor], torch.Tensor]
    differentiate: Differentiate
    backward_passes: frozenset[int]
    train_batch: int
    eval_batch: int

    def has_features(self, images: torch.Tensor, training: bool) -> bool:
        """Whether the trunk is compiled for this mini-batch."""
        return 1 in self.backward_passes and len(images) == self.train_batch if training else len(images) == self.eval_batch

    def has_gradients(self, images: torch.Tensor) -> bool:
        """Whether both gradients of this mini-batch are compiled as one pass."""
        return 2 in self.backward_passes and len(images) == self.train_batch


def compile_network(network: Network, batch: Batch, eval_batch: int, backward_passes: frozenset[int]) -> Compiled:
    """Compile the passes of a network's trunk; this takes from seconds to minutes.

    Args:
        network: on its device and in its memory layout, not compiled; left as it is.
        batch: like those of the training.
        eval_batch: images of a mini-batch of the evaluation.
        backward_passes: that the steps of the training make through the trunk: 1, 2, or some 1 and some 2.

    Raises:
        Exception: of many types, where there is no compiler or it fails.
    """
    _prepare()
    # In one piece or not at all: in pieces it would be slower, and nothing would say so.
    trunk, both = (torch.compile(passes, dynamic=False, fullgraph=True) for passes in (network.model.trunk, differentiate))
    compiled = Compiled(trunk, both, backward_passes, len(batch.images), eval_batch)
    with untouched(network.model):
        if 1 in backward_passes:
            with network.autocast():
                features = trunk(batch.images)
            torch.autograd.grad(features.float().sum(), list(network.model.trunk.parameters()))
        if 2 in backward_passes:
            through(Network(network.model, network.autocast, compiled), batch, torch.ones((), device=batch.images.device))
        network.model.eval()
        evaluated = batch.images[:1].expand(eval_batch, -1, -1, -1).contiguous(memory_format=_layout(batch.images))
        with network.autocast(), torch.no_grad():
            trunk(evaluated)
    return compiled


def _prepare() -> None:
    from torch._dynamo import config as dynamo  # with the whole compiler: nearly as long to load as torch
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor
    from torch.compiler import config as compiler

    # A user's strategy may go backward from a loss itself before the engine does, on the same activations, which the first pass must
    # therefore not overwrite: the benchmark's own PCGrad is such a one.
    functorch.donated_buffer = False
    # torch's cache on disk does not tell code that overwrites them from code that does not, and would serve it: the second gradient would
    # be wrong without a word (seen with torch 2.14.1).
    if KEPT not in compiler.cache_key_tag:  # which may hold a tag of the user's
        compiler.cache_key_tag += KEPT
    # A sweep compiles several architectures in several precisions; beyond this number torch goes on without compiling.
    dynamo.recompile_limit = 64
    # The same sums in the same order every time: no kernel is chosen by a race between candidates.
    if hasattr(inductor, "deterministic"):
        inductor.deterministic = True
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # which warns that a CPU is no GPU


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
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
