"""Asks before something is ended or removed."""

import sys

from mtlsweep.errors import UserError


def confirm(question: str, yes: bool) -> bool:
    """Whether the user wants it.

    Args:
        question: to answer with y or n.
        yes: it has been answered on the command line.

    Raises:
        UserError: nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody can be asked here (standard input is no terminal); --yes means yes")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was done")
    return False
