"""How a command ends, also where a reader of its output leaves before the end, as `head` does, or somebody presses Ctrl-C."""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mtlsweep.errors import UserError


def stop_writing() -> None:
    """What is still to be written to standard output, whose reader has left, goes nowhere: Python would try it once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_what_can_be_written() -> None:
    """Where a terminal or a file has no letter for a sign (`±` in ASCII), a question mark stands for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def refused_in_a_line(program: str, act: Callable[[], int]) -> int:
    """The exit status of what is done; 2 where it is refused, or a file of it cannot be used, with why on standard error."""
    try:
        return act()
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except BrokenPipeError:  # the reader's leave, no fault of a file
        raise
    except OSError as error:
        from mtlsweep.explain import explain  # loads OmegaConf

        print(f"{program}: {explain(error)}", file=sys.stderr)
    return 2


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exit with a command's status; without a word with 1 where nobody reads on, and with 130 after Ctrl-C."""
    write_what_can_be_written()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        stop_writing()
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
