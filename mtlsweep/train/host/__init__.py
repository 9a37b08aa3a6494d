"""Kernels in C++, for a processor."""
