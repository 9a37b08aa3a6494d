"""Compiles the kernels of a ResNet's training for a GPU of compute capability 9.0, which need not be there, and prints their names.

What the interpreter takes Triton's compiler may still refuse: types that differ between two branches, shapes that are no powers of two.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from mtlsweep.models import resnet, vgg_bn
from mtlsweep.train.convolutions import take_over
from mtlsweep.train.fused_heads import FusedHeads
from mtlsweep.train.fused_trunk import FusedTrunk
from mtlsweep.train.network import Batch

COMPILED: set[str] = set()
COMPILE = JITFunction.run


def main() -> None:
    """A training step and an evaluation, nothing of which is executed."""
    driver.set_active(
        SimpleNamespace(
            get_current_target=partial(GPUTarget, "cuda", 90, 32), get_current_device=lambda: 0, get_current_stream=lambda device: 0
        )
    )
    JITFunction.run = only_compiled
    model = resnet(20).to(memory_format=torch.channels_last)
    images = torch.zeros(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(128, dtype=torch.int64)
    trunk = FusedTrunk(model.trunk, torch.bfloat16)
    for heads, features in ((model, trunk(images)), (vgg_bn(11), torch.zeros(128, 512, dtype=torch.bfloat16, requires_grad=True))):
        losses = FusedHeads(heads)(features, Batch(images, labels, labels))
        (losses.fine + losses.coarse).backward()
    trunk.infer(images)
    trunk(images[:5]).sum().backward()  # not all programs of a launch are full
    take_over(model)
    model.trunk(images.bfloat16()).sum().backward()
    print("\n".join(sorted(COMPILED)))


def only_compiled(self: Any, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> None:
    """In place of a launch."""
    if COMPILE(self, *arguments, grid=grid, warmup=True, **constants).asm["cubin"]:
        COMPILED.add(self.fn.__name__)


if __name__ == "__main__":
    main()
