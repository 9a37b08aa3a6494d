"""The edge of the command line: exit statuses, and one line instead of a traceback where the user can put things right.

Exit status 0: all that was asked for is done (diverged runs included); 1: a run failed, or their table could not be made; 2: the command is
wrong, nothing was trained (by a search, nothing after it chose values that are no run); 130: interrupted.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mtlsweep.errors import UserError
from mtlsweep.explain import explain
from mtlsweep.pipe import stop_writing, write_what_can_be_written
from mtlsweep.sweep import CellFailed

# What is raised before anything trains, and is the user's to put right.
REFUSALS = (HydraException, OmegaConfBaseException, UserError, OSError, YAMLError)


def refuse(error: BaseException) -> int:
    """Say what is wrong with the command; the exit status."""
    print(f"error: {explain(error)}", file=sys.stderr)
    return 2


def guard(main: Callable[[], object], at_end: Callable[[], object]) -> NoReturn:
    """Run Hydra's main function, then `at_end` unless the command was wrong or interrupted, and exit."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would print and hide
    OmegaConf.register_new_resolver("pid", os.getpid, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("home", os.path.expanduser, replace=True)  # Hydra itself would make a folder of the name ~
    signal.signal(signal.SIGTERM, _interrupt)
    write_what_can_be_written()
    status = _attempt(main)
    if status < 2:
        after = _attempt(at_end)
        status = 1 if after == 2 else max(status, after)  # what was asked for has been trained all the same
    sys.exit(status)


def _attempt(act: Callable[[], object]) -> int:
    """The exit status of what is done."""
    try:
        act()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:  # the reader of the output has left, as `head` does
        stop_writing()
        status = 1
    except REFUSALS as error:
        status = refuse(error)
    except ValueError as error:
        if not _raised_by_hydra(error):
            raise
        status = refuse(error)
    except KeyboardInterrupt:
        status = 130
    except CellFailed:
        status = 1
    return status


def _raised_by_hydra(error: BaseException) -> bool:
    """Hydra has no type of its own for some wrong commands, as `loss=null`."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"]).startswith("hydra.")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
