"""What the runs of a study say. `python -m analysis STUDY` is `python -m analysis table STUDY`."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.find import find_study
from analysis.measures import MEASURES
from mtlsweep.errors import UserError
from mtlsweep.pipe import exit_with, refused_in_a_line

if TYPE_CHECKING:
    from analysis.report import Choice

FORMATS = ("text", "markdown", "csv", "latex")
VERBS = {
    "table": "accuracies by architecture and strategy, differences from a baseline, and what they allow to be said",
    "collect": "only results.csv, one row per run, in each study's folder",
    "compare": "two studies, or one at two commits, cell by cell",
    "plots": "accuracy and weights over the epochs, the spread over seeds, accuracy against cost: PNG and SVG",
    "report": "all of it as one HTML page",
    "publish": "check finished runs, keep their small files in FOLDER/runs, make results.csv, table.md and report.html of them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a verb says with the named studies.

    Returns:
        The exit status: 0; 2 where a study is missing or holds no runs, or nothing can be said about what was asked.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in (*VERBS, "-h", "--help"):
        words.insert(0, "table")
    given = _parser().parse_args(words)
    return refused_in_a_line("analysis", partial(_do, given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    parsers = {name: verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.") for name, text in VERBS.items()}
    for name in ("table", "collect"):
        parsers[name].add_argument("studies", nargs="+", metavar="STUDY", help="a study's folder, its name below runs/, or a results CSV")
    for name in ("plots", "report"):
        parsers[name].add_argument("study", metavar="STUDY", help="a study's folder, its name below runs/, or a results CSV")
    for name in ("table", "report"):
        _add_choice(parsers[name])
    help_measure = "what is compared: best (of the epochs, on the test set: the benchmark's), last, or selected (by data.validation)"
    parsers["table"].add_argument("--measure", choices=MEASURES, default="best", help=help_measure)
    for name in ("a", "b"):
        parsers["compare"].add_argument(name, metavar=name.upper(), help="a study as above, or STUDY@COMMIT: its runs by that commit")
    for name in ("table", "compare"):
        parsers[name].add_argument("--format", choices=FORMATS, default="text", help="csv and latex leave only it on standard output")
    parsers["plots"].add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="default: plots in the study's folder; of X.csv, X.plots"
    )
    parsers["plots"].add_argument("--strategies", type=_names, metavar="A,B", help="in colour (default: at most nine, the others grey)")
    parsers["report"].add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: report.html in the study's folder; of X.csv, X.report.html"
    )
    parsers["publish"].add_argument("folder", type=Path, metavar="FOLDER", help="what is published")
    parsers["publish"].add_argument("studies", nargs="*", metavar="STUDY", help="whose finished runs are taken in; none: all is made anew")
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baseline", metavar="STRATEGY", help="compare with this strategy, as the table names it (default: fine_only)")
    parser.add_argument("--strategies", type=_names, metavar="A,B", help="correct p values for these strategies only (default: all)")
    parser.add_argument("--resolve", type=_points, default=0.5, metavar="POINTS", help="the difference that matters (default: 0.5)")
    parser.add_argument("--published", action="store_true", help="set the benchmark's published accuracies beside ours")


def _names(text: str) -> list[str]:
    """Labels of strategies; a comma within brackets is part of one."""
    names, depth = [""], 0
    for letter in text:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth <= 0:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names]


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0 and below 100, in percentage points")
    return value


def _do(given: argparse.Namespace) -> int:
    """Each verb imports only what it needs: a table shall not wait for what draws plots."""
    match given.verb:
        case "table":
            studies = [find_study(name) for name in given.studies]
            from analysis.report import report_studies

            report_studies(studies, given.format, _choice(given))
        case "collect":
            studies = [_folder(name) for name in given.studies]
            from analysis.report import gather, say_where

            gather(studies)
            say_where(studies)
        case "compare":
            from analysis.compare import report_pair

            report_pair(given.a, given.b, given.format)
        case "plots":
            study = find_study(given.study)
            from analysis.plots import report_plots

            report_plots(study, given.output or _default(study, "plots"), given.strategies)
        case "report":
            study = find_study(given.study)
            from analysis.page import write

            output = given.output or _default(study, "report.html")
            write(study, output, _choice(given))
            print(f"report: {output}")
        case "publish":
            sources = [_folder(name) for name in given.studies]
            from analysis.publish import publish

            publish(given.folder, sources)
    return 0


def _folder(name: str) -> Path:
    study = find_study(name)
    if not study.is_dir():
        raise UserError(f"{study}: is a table, and its runs are wanted: name the study's folder")
    return study


def _default(study: Path, name: str) -> Path:
    """What is made of a study is in its folder; of a CSV beside it and named after it, for the folder may be a study's and have its own."""
    return study / name if study.is_dir() else study.with_name(f"{study.stem}.{name}")


def _choice(given: argparse.Namespace) -> "Choice":
    from analysis.report import Choice

    return Choice(given.baseline, given.strategies, given.resolve, given.published, getattr(given, "measure", "best"))


if __name__ == "__main__":
    exit_with(main)
