"""`python -m mtlsweep VERB`: how a study's runs are, their logs, how to end and remove what is not wanted; the strategies."""

import argparse
from collections.abc import Sequence
from functools import partial

from mtlsweep.pipe import exit_with, refused_in_a_line

STUDY = "a study's folder, or its name below runs/"
CELL = "words of a cell's name (resnet20 haw seed 42), or its run directory"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a verb says.

    Returns:
        The exit status: 0; 1 where the user has said no; 2 where what is asked for does not exist or cannot be done.
    """
    given = _parser().parse_args(arguments)
    return refused_in_a_line("mtlsweep", partial(_do, given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mtlsweep", description="Runs and sweeps are run.py's; tables are `python -m analysis`'s."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    status = verb("status", "how far the runs of a study are, what went wrong, what it costs")
    status.add_argument("study", metavar="STUDY", help=STUDY)
    status.add_argument("--watch", action="store_true", help="again and again, until nothing is running or queued")
    logs = verb("logs", "what a run has said, or the SLURM job that was given it")
    logs.add_argument("where", metavar="CELL|STUDY", help=f"a run directory; or {STUDY}, followed by")
    logs.add_argument("words", metavar="CELL", nargs="*", help=CELL)
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    logs.add_argument("-n", "--lines", type=_count, metavar="N", help="the last N lines only")
    cancel = verb("cancel", "end the SLURM jobs of a study, and the processes of this machine that run it")
    clean = verb("clean", "remove the runs of a study that have no result; those with a result only if told so, what runs or waits never")
    for parser_of, words in ((cancel, "end"), (clean, "remove")):
        parser_of.add_argument("study", metavar="STUDY", help=STUDY)
        parser_of.add_argument("-y", "--yes", action="store_true", help=f"{words} without asking")
    clean.add_argument("cells", metavar="CELL", nargs="*", help=f"only these, whatever has become of them: {CELL}")
    clean.add_argument("--completed", action="store_true", help="those with a result, completed and diverged, too")
    clean.add_argument("--previous", action="store_true", help="the earlier results of runs that were done again, too")
    strategies = verb("strategies", "the table of all loss strategies")
    strategies.add_argument("--format", choices=("text", "markdown"), default="text")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


def _do(given: argparse.Namespace) -> int:
    if given.verb == "strategies":
        _strategies(given.format)
        return 0
    from mtlsweep.study.find import find_study

    if given.verb == "logs":
        from mtlsweep.study.logs import logs

        logs(given.where, given.words, given.follow, given.lines)
        return 0
    study = find_study(given.study)
    if given.verb == "status":
        from mtlsweep.study import watch

        (watch.watch if given.watch else watch.once)(study)
        return 0
    if given.verb == "cancel":
        from mtlsweep.study.cancel import cancel

        return int(not cancel(study, given.yes))
    from mtlsweep.study.clean import Choice, clean

    return int(not clean(study, Choice(given.cells, given.completed, given.previous), given.yes))


def _strategies(output: str) -> None:
    from mtlsweep.catalogue import catalogue, markdown, show  # loads torch

    entries = catalogue()
    if output == "markdown":
        print(markdown(entries), end="")
    else:
        show(entries)


if __name__ == "__main__":
    exit_with(main)
