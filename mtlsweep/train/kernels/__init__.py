"""Kernels in Triton, for a GPU. Nothing here is imported before it is used: Triton is not everywhere, and takes a second to load."""
