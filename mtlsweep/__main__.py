"""`python -m mtlsweep VERB`: what there is to know without a run."""

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m mtlsweep", description="Runs and sweeps are run.py's; tables are `python -m analysis`'s."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    strategies = verbs.add_parser("strategies", help="the table of all loss strategies")
    strategies.add_argument("--format", choices=("text", "markdown"), default="text")
    given = parser.parse_args(arguments)

    from mtlsweep.catalogue import catalogue, markdown, show  # loads torch

    entries = catalogue()
    if given.format == "markdown":
        print(markdown(entries), end="")
    else:
        show(entries)


if __name__ == "__main__":
    main()
