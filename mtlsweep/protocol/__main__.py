"""`python -m mtlsweep.protocol VERB ENTRY ...`: the benchmark's trial-and-submit rules. `docs/protocol.md` says what they guard."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mtlsweep.cli import REFUSALS
from mtlsweep.errors import UserError
from mtlsweep.explain import explain
from mtlsweep.pipe import exit_with

VERBS = {
    "init": "make the folder of a new entry",
    "test": "check my_loss.py and run it on the visible architectures: one trial; or go on with the unfinished one",
    "undo": "put the version of trial N back into my_loss.py",
    "submit": "run the version of trial N on the held-out architecture too, and close the entry",
    "verify": "compare the entry with its ledger; exit status 1 and what differs, if anything does",
    "show": "trials so far, what is left",
    "leaderboard": "entries and strategies of studies in one table, beside the published accuracies",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a verb says with an entry.

    Returns:
        The exit status: 0; 1 where a trial or a submission is not finished, or an entry is not as its ledger says; 2 where the rules or the
        command do not allow it, or the file has a fault: nothing is counted then; 130 after Ctrl-C.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    overrides = rest if given.verb in ("test", "submit") else []
    unknown = [word for word in rest if word not in overrides or word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return _do(given, overrides)
    except BrokenPipeError:  # the reader's leave, no fault of a file
        raise
    except REFUSALS as error:
        print(f"mtlsweep.protocol: {explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print("interrupted: the same command goes on, and a trial is counted once", flush=True)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mtlsweep.protocol", description=__doc__.partition(": ")[2])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    parsers = {name: verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.") for name, text in VERBS.items()}
    for name in ("init", "test", "undo", "submit", "verify", "show"):
        parsers[name].add_argument("entry", type=Path, metavar="ENTRY", help="the entry's folder")
    parsers["init"].add_argument("--trials", type=_positive, default=3, help="how many (default: the benchmark's 3; more: a rehearsal)")
    for name in ("undo", "submit"):
        parsers[name].add_argument("trial", type=int, metavar="N", help="a trial's number")
    for name in ("test", "submit"):
        help_text = "end the sweep after so many minutes for each architecture, e.g. of a file that never ends (default: none)"
        parsers[name].add_argument("--limit", type=_minutes, metavar="MINUTES", help=help_text)
        parsers[name].epilog = "OVERRIDE: Hydra's, as of run.py, e.g. hydra/launcher=slurm, or schedule=smoke data=synthetic to rehearse."
    parsers["test"].add_argument("--abandon", action="store_true", help="give the unfinished trial up, which counts, and begin the next")
    for name in ("test", "submit"):  # argparse knows none of them, so that they may stand before and behind options
        parsers[name].usage = f"{parsers[name].format_usage().removeprefix('usage: ').rstrip()} [OVERRIDE ...]"
    parsers["verify"].add_argument("--head", metavar="HASH", help="a ledger's head that was kept elsewhere")
    parsers["leaderboard"].add_argument(
        "folders", nargs="+", metavar="DIR", help="an entry, a study (or its name below runs/), or a results CSV"
    )
    parsers["leaderboard"].add_argument("--format", choices=("markdown", "csv"), default="markdown")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return minutes


def _do(given: argparse.Namespace, overrides: list[str]) -> int:
    """Each verb imports only what it needs: `show` does not wait for torch."""
    match given.verb:
        case "init":
            from mtlsweep.protocol.entry import Entry

            Entry.create(given.entry, given.trials)
            print(f"{given.entry}: edit my_loss.py, then: python -m mtlsweep.protocol test {shlex.quote(str(given.entry))}")
        case "test":
            from mtlsweep.protocol.trial import run_trial

            return int(not run_trial(given.entry, overrides, given.limit, given.abandon))
        case "undo":
            from mtlsweep.protocol.undo import undo

            kept = undo(given.entry, given.trial)
            print(f"my_loss.py is the version of trial {given.trial}" + (f"; what it was is in {kept.name}" if kept else ""))
        case "submit":
            from mtlsweep.protocol.submission import submit

            return int(not submit(given.entry, given.trial, overrides, given.limit))
        case "verify":
            return _verify(given)
        case "show":
            from mtlsweep.protocol.show import show

            show(given.entry)
        case "leaderboard":
            from analysis.leaderboard import leaderboard  # loads pandas

            print(leaderboard(given.folders, given.format), end="")
    return 0


def _verify(given: argparse.Namespace) -> int:
    from mtlsweep.protocol.entry import Entry
    from mtlsweep.protocol.verification import verify

    if not given.entry.is_dir():
        raise UserError(f"{given.entry}: no such folder")
    found = verify(given.entry, given.head)
    if found:
        print(*found, sep="\n")
        return 1
    ledger = Entry.read(given.entry).ledger
    print(f"{given.entry}: as its ledger says, {len(ledger.lines)} lines; head {ledger.head}")
    return 0


if __name__ == "__main__":
    exit_with(main)
