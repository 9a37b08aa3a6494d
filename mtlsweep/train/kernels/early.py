"""Launches that begin before the one before has ended, and wait for it before they touch memory.

Programmatic dependent launch, which GPUs of compute capability 9.0 and above have (CUDA C++ Programming Guide, "Programmatic Dependent Launch and
Synchronization"): the start of a launch and its programs' first instructions are over when the launch before ends. What is computed is the same.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
from triton.language.target_info import cuda_capability_geq, current_target

# Whether a launch lets the next one begin as soon as it may itself touch memory; otherwise when it has stored its own part of a sum.
AT_ONCE = tl.constexpr(False)
FIRST_ARCHITECTURE = 90


def begins() -> dict[str, bool]:
    """What a launch of a kernel that begins with `wait` is given beside its arguments."""
    target = current_target()
    return {"launch_pdl": True} if target is not None and target.backend == "cuda" and target.arch >= FIRST_ARCHITECTURE else {}


@triton.jit
def wait() -> None:
    """Until the launch before has ended: whatever it wrote can then be read."""
    if cuda_capability_geq(9, 0):
        gdc_wait()
        if AT_ONCE:
            gdc_launch_dependents()


@triton.jit
def let_next_begin() -> None:
    """It begins when all programs of this launch have come here or ended."""
    if cuda_capability_geq(9, 0):
        gdc_launch_dependents()
