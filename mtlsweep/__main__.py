"""`python -m mtlsweep VERB`: what there is to know without a run."""

import argparse
import sys
from collections.abc import Sequence

from mtlsweep.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is asked for.

    Returns:
        The exit status: 0; 2 where what is asked for does not exist.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mtlsweep", description="Runs and sweeps are run.py's; tables are `python -m analysis`'s."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    status = verbs.add_parser("status", help="how far the runs of a study are")
    status.add_argument("study", metavar="STUDY", help="a study's folder, or its name below runs/")
    strategies = verbs.add_parser("strategies", help="the table of all loss strategies")
    strategies.add_argument("--format", choices=("text", "markdown"), default="text")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "status":
            _status(given.study)
        else:
            _strategies(given.format)
    except UserError as error:
        print(f"mtlsweep: {error}", file=sys.stderr)
        return 2
    return 0


def _status(study: str) -> None:
    from mtlsweep.status import find_study, show

    show(find_study(study))


def _strategies(output: str) -> None:
    from mtlsweep.catalogue import catalogue, markdown, show  # loads torch

    entries = catalogue()
    if output == "markdown":
        print(markdown(entries), end="")
    else:
        show(entries)


if __name__ == "__main__":
    sys.exit(main())
