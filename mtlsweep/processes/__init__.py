"""Sweeps in several processes on this machine: `pool` is the sweep's own process, `worker` what it starts. Only `worker` loads torch."""
