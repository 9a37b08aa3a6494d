"""Compiles the kernels of a ResNet's and of a VGG's training for a GPU of compute capability 9.0, which need not be there, and prints their
names and which of them begin early.

What the interpreter takes Triton's compiler may still refuse: types that differ between two branches, shapes that are no powers of two. And
no interpreter shows whether a launch that begins early waits before it touches memory.
"""

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from mtlsweep.data.dataset import Split
from mtlsweep.models import resnet, vgg_bn
from mtlsweep.train.convolutions import take_over
from mtlsweep.train.fused_heads import FusedHeads
from mtlsweep.train.fused_stack import FusedStack
from mtlsweep.train.fused_trunk import FusedTrunk
from mtlsweep.train.network import Batch

COMPILED: set[str] = set()
WAITS, LETS = "griddepcontrol.wait", "griddepcontrol.launch_dependents"
# Parameters and shared memory are a launch's own.
FIRST_OF_MEMORY = re.compile(rf"{WAITS}|\b(?:ld|st|atom|red|cp|prefetch)(?!\.param|\.shared)[.\w:]*")
COMPILE = JITFunction.run


def main() -> None:
    """A training step and an evaluation, nothing of which is executed."""
    driver.set_active(
        SimpleNamespace(
            get_current_target=partial(GPUTarget, "cuda", 90, 32), get_current_device=lambda: 0, get_current_stream=lambda device: 0
        )
    )
    JITFunction.run = only_compiled
    from mtlsweep.train.kernels.crop_flip import crop_flip  # asks which GPU there is

    model = resnet(20).to(memory_format=torch.channels_last)
    images = torch.zeros(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(128, dtype=torch.int64)
    trunk = FusedTrunk(model.trunk, torch.bfloat16)
    for heads, features in ((model, trunk(images)), (vgg_bn(11), torch.zeros(128, 512, dtype=torch.bfloat16, requires_grad=True))):
        losses = FusedHeads(heads)(features, Batch(images, labels, labels))
        (losses.fine + losses.coarse).backward()
    trunk.infer(images)
    trunk(images[:5]).sum().backward()  # not all programs of a launch are full
    stack = FusedStack(vgg_bn(11).to(memory_format=torch.channels_last).trunk, torch.bfloat16)
    stack(images[:2]).sum().backward()
    stack.infer(images[:2])
    crop_flip(Split(images.permute(0, 2, 3, 1).byte(), labels, labels), labels, torch.zeros(3, 128, dtype=torch.int64), torch.zeros(256, 3))
    take_over(model)
    model.trunk(images.bfloat16()).sum().backward()
    print("\n".join(sorted(COMPILED)))


def only_compiled(self: Any, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> None:
    """In place of a launch."""
    name = self.fn.__name__
    asm = COMPILE(self, *arguments, grid=grid, warmup=True, **constants).asm
    if constants.get("launch_pdl"):
        first = next(match[0] for match in FIRST_OF_MEMORY.finditer(asm["ptx"]))
        assert first == WAITS, f"{name}: {first} comes before {WAITS}"
        name += " lets the next begin" if LETS in asm["ptx"] else " early"
    if asm["cubin"]:
        COMPILED.add(name)


if __name__ == "__main__":
    main()
