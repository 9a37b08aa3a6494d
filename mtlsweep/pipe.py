"""How a command ends, also where a reader of its output leaves before the end, as `head` does, or somebody presses Ctrl-C."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exit with a command's status; without a word with 1 where nobody reads on, and with 130 after Ctrl-C."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try to write the rest once more
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
