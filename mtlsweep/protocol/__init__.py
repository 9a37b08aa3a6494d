"""The benchmark's own rules: three trials on the visible architectures, undo, one submission. `python -m mtlsweep.protocol`."""
