"""Kernels in Triton, for a GPU. None of its modules is imported before it is used: Triton is not everywhere, and takes a second to load."""


def memory_ran_out(error: Exception) -> bool:
    """Whether that is why a kernel failed, which says nothing about the kernel; Triton has no exception of its own for it."""
    return "out of memory" in str(error)
