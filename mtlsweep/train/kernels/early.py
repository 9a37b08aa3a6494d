"""Launches that begin before the one before has ended, and wait for it before they touch memory.

Programmatic dependent launch, which GPUs of compute capability 9.0 and above have (CUDA C++ Programming Guide, "Programmatic Dependent
Launch and Synchronization"): the start of a launch and its programs' first instructions are over when the launch before ends. What is
computed is the same. A kernel that is launched so has to begin with `wait`, which a test sees to.
"""

import triton
import triton.language as tl
from triton.runtime import driver

FIRST_ARCHITECTURE = 90


def _can() -> bool:
    """Whether this process's GPU, or the one that kernels are compiled for, can do it; Triton's interpreter cannot."""
    if triton.knobs.runtime.interpret:
        return False
    try:
        target = driver.active.get_current_target()
    except RuntimeError:  # no GPU
        return False
    return target.backend == "cuda" and target.arch >= FIRST_ARCHITECTURE


EARLY = tl.constexpr(_can())
# What a launch is given beside its arguments.
BEGINS = {"launch_pdl": True} if EARLY.value else {}


@triton.jit
def wait() -> None:
    """Until the launch before has ended: whatever it wrote can then be read, and what it reads be written."""
    if EARLY:
        tl.extra.cuda.gdc_wait()


@triton.jit
def let_next_begin() -> None:
    """It begins when all programs of this launch have come here or ended; of a launch that does not call this, when they have ended.

    To call this as soon as `wait` returns was slower in lanes: programs that only wait take the place of others' (benchmarks/README.md).
    """
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
