"""`python -m benchmarks [PART ...]`: measures, prints a table at a time, and keeps them as JSON and markdown."""

import argparse
import sys
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.parts import PARTS, usual
from benchmarks.record import Record
from benchmarks.section import Section
from benchmarks.setting import ARCHITECTURES, Setting
from benchmarks.timing import CLOCKS

RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0; 1 if a part could not be measured; 2 if the command is wrong."""
    given = _parser().parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        print("error: --device cuda: torch finds no GPU here", file=sys.stderr)
        return 2
    if device.type == "cuda" and given.clock == "cpu":
        print("error: --clock cpu: a GPU's time is not the processor's", file=sys.stderr)
        return 2
    setting = (Setting.small(device) if given.quick else Setting(device, given.networks)).by(given.clock)
    record = Record(given.output / f"{datetime.now():%Y%m%d-%H%M%S}-{device.type}", machine.describe(device), given.quick)
    print(machine.sentence(record.machine), flush=True)
    if given.minutes:
        setting = setting.until(time.monotonic() + 60 * given.minutes)
    failed = []
    for name in given.parts or usual(device.type):
        if setting.plan.over():
            _keep(record, name, Section(f"{name}: not measured", [], [f"{given.minutes:g} minutes were over"]))
        elif not _measured(name, setting, record):
            failed.append(name)
    print(f"\n{record.path}.json, {record.path}.md")
    return int(bool(failed))


def _measured(name: str, setting: Setting, record: Record) -> bool:
    """Whether the part could be measured. The others are, all the same."""
    part = PARTS[name]
    try:
        for section in part.run(part.setting(setting)):
            _keep(record, name, section)
    except Exception as error:  # of many kinds: memory, a driver, a compiler
        _keep(record, name, Section(f"{name}: failed", [], [f"{type(error).__name__}: {error}"]))
        return False
    return True


def _keep(record: Record, name: str, section: Section) -> None:
    record.add(name, section)
    print(f"\n{section.markdown()}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"of {', '.join(PARTS)} (default: the device's usual ones)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--networks", type=_networks, default=ARCHITECTURES, metavar="A,B", help="architectures (default: all three)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch on the processor (default: torch's own choice)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: on a machine that others use, with --threads 1 (default: wall)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="begin nothing after so many (default: all is measured)")
    parser.add_argument("--quick", action="store_true", help="see that every part works, in seconds; the figures mean nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="DIR", help="where the files go (default: benchmarks/results)")
    return parser


def _part(name: str) -> str:
    return _among(name, PARTS)


def _networks(names: str) -> tuple[str, ...]:
    return tuple(_among(name, ARCHITECTURES) for name in names.split(","))


def _among(name: str, known: Collection[str]) -> str:
    if name not in known:
        raise argparse.ArgumentTypeError(f"{name}: choose from {', '.join(known)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
