"""`python -m analysis STUDY`: the table of a study's runs, and `results.csv` beside them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

FORMATS = ("text", "markdown", "csv", "latex")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of the named studies.

    Returns:
        The exit status: 0; 2 where a study is missing or holds no runs.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="a study's folder, or its name below runs/")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table; csv and latex leave only it on standard output")
    given = parser.parse_args(arguments)
    # Only now, so that --help and a mistyped study do not wait for pandas.
    from mtlsweep.errors import UserError

    try:
        studies = [find_study(name) for name in given.studies]

        from analysis.report import report_studies

        report_studies(studies, output=given.format)
    except UserError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 2
    return 0


def find_study(name: str) -> Path:
    """The folder of a study, given its path or its name below `runs/`.

    Raises:
        UserError: there is no such folder.
    """
    from mtlsweep.errors import UserError

    for path in (Path(name), Path("runs") / name):
        if path.is_dir():
            return path
    raise UserError(f"{name}: no such study (neither {name} nor {Path('runs') / name} is a folder)")


if __name__ == "__main__":
    sys.exit(main())
