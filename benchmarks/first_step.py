"""Runs `run.py` and leaves at the end of its first optimizer step: `python first_step.py RUN_PY ARGUMENTS`."""

import os
import runpy
import sys
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

NO_STEP = 3


def leave(*arguments: object) -> None:
    """At once: what is timed ends here."""
    os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(leave)
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        sys.exit(end.code or NO_STEP)
    sys.exit(NO_STEP)
