"""Launches that begin before the one before has ended, and wait for it before they touch memory.

Programmatic dependent launch, which GPUs of compute capability 9.0 and above have (CUDA C++ Programming Guide, "Programmatic Dependent
Launch and Synchronization"): the start of a launch and its programs' first instructions are over when the launch before ends. What is
computed is the same. A kernel that is launched so has to begin with `wait`, which a test sees to.
"""

import triton
import triton.language as tl
from triton.language.target_info import cuda_capability_geq, current_target

FIRST_ARCHITECTURE = 90


def begins() -> dict[str, bool]:
    """What a launch is given beside its arguments, so that it begins early where the GPU can."""
    target = current_target()
    return {"launch_pdl": True} if target is not None and target.backend == "cuda" and target.arch >= FIRST_ARCHITECTURE else {}


@triton.jit
def wait() -> None:
    """Until the launch before has ended: whatever it wrote can then be read, and what it reads be written."""
    if cuda_capability_geq(9, 0):
        tl.extra.cuda.gdc_wait()


@triton.jit
def let_next_begin() -> None:
    """It begins when all programs of this launch have come here or ended.

    To call this as soon as `wait` returns was slower in lanes: programs that only wait take the place of others' (benchmarks/README.md).
    """
    if cuda_capability_geq(9, 0):
        tl.extra.cuda.gdc_launch_dependents()
