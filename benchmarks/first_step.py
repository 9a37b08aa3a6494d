"""Runs `run.py` and leaves at the end of an optimizer step: `python first_step.py STEPS RUN_PY ARGUMENTS`; prints the peak memory, KiB."""

import os
import runpy
import sys
from itertools import count
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

NO_STEP = 3


def peak_memory() -> int:
    """Of this process, KiB. Not getrusage's, which begins at what the parent had when it started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def leave_after(steps: int) -> None:
    """At once: what is timed or weighed ends here."""
    numbers = count(1)

    def leave(*arguments: object) -> None:
        if next(numbers) == steps:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            print(peak_memory(), flush=True)
            os._exit(0)

    register_optimizer_step_post_hook(leave)


if __name__ == "__main__":
    leave_after(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        sys.exit(end.code or NO_STEP)
    sys.exit(NO_STEP)
