"""Sweeps on SLURM: cells are frozen, submitted as array jobs, executed on the nodes and followed. Only `submit` and `job` load submitit."""
