"""Which program of a launch is the last."""

import triton
import triton.language as tl

from mtlsweep.train.kernels.early import let_next_begin


@triton.jit
def is_last(ticket) -> tl.tensor:  # type: ignore[no-untyped-def]
    """Whether this program is the last of its launch to come here: what the others have stored before can then be read."""
    let_next_begin()
    tl.debug_barrier()  # all of this program's threads have stored
    last = tl.atomic_add(ticket, 1, sem="acq_rel", scope="gpu") == tl.num_programs(0) - 1
    if last:
        tl.store(ticket, 0)
    return last
