"""`python -m mtlsweep status STUDY`: what is running, what went wrong and where more stands about it, what it has cost and will cost."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.text import Text

from mtlsweep.progress import console
from mtlsweep.runs import RunDirectory
from mtlsweep.slurm.queue import Job
from mtlsweep.status import Running, running_table
from mtlsweep.study.cost import Cost
from mtlsweep.study.survey import Entry, Survey
from mtlsweep.words import plural

# Cells that are listed of those that share an error; and errors.
SHOWN = 5
MOST_ERRORS = 20


def show(survey: Survey, ends: Mapping[str, str]) -> None:
    """Print a study's status.

    Args:
        survey: of it.
        ends: how the jobs of `lost` cells ended.
    """
    running = _running(survey)
    if running:
        console.print(running_table(running))
    for line in _lines(survey, ends):
        console.print(line)


def picture(survey: Survey, ends: Mapping[str, str]) -> Group:
    """The same no higher than the terminal: the table is cut, not what stands below it."""
    running = _running(survey)
    lines = [Text(line, no_wrap=False, overflow="fold") for line in _lines(survey, ends)]
    height = sum(-(-max(1, len(line)) // console.width) for line in lines)
    room = max(1, (console.height - height - 4) // 2)  # a row may take two lines
    return Group(*([running_table(running, room)] if running else []), *lines)


def summary(survey: Survey) -> str:
    """How many cells there are of each status."""
    words = ", ".join(f"{count} {word}" for word, count in survey.words.items())
    return f"{plural(len(survey.entries), 'cell')}: {words}" if survey.entries else "no runs"


def lost(survey: Survey) -> list[Entry]:
    """Cells without a result whose job has left SLURM's queue."""
    return [entry for entry in survey.having("pending", "interrupted") if entry.job and not entry.queued and not survey.silent]


def _running(survey: Survey) -> list[Running]:
    return [
        Running.of(RunDirectory(entry.path), entry.name, entry.record.run["identity"]["schedule"]["epochs"], _where(entry, survey.jobs))
        for entry in survey.having("running")
    ]


def _lines(survey: Survey, ends: Mapping[str, str]) -> list[str]:
    return [*_problems(survey, ends), *_queue(survey), summary(survey), Cost.of(survey.entries).text]


def _where(entry: Entry, jobs: Sequence[Job]) -> str:
    owner = entry.record.owner
    if not owner:
        return ""
    host = owner.host.partition(".")[0]
    if not owner.slurm_job:
        return f"{host} pid {owner.pid}"
    return f"{host} job {next((job.id for job in jobs if job.number == owner.slurm_job), owner.slurm_job)}"


def _problems(survey: Survey, ends: Mapping[str, str]) -> Iterator[str]:
    """What went wrong, the same in one group."""
    groups: dict[tuple[str, str], list[tuple[Entry, Path | None]]] = {}
    for entry in survey.having("failed"):
        groups.setdefault(("failed", entry.record.error or "without a word"), []).append((entry, entry.path / "run.log"))
    for entry in lost(survey):
        if entry.job:
            groups.setdefault((entry.word, f"its job ended as {ends[entry.job]}"), []).append((entry, entry.log))
    for (word, error), cells in list(groups.items())[:MOST_ERRORS]:
        yield f"{len(cells)} {word}: {error}"
        yield from (f"  {entry.name}" + (f": {log}" if log and log.exists() else "") for entry, log in cells[:SHOWN])
        if len(cells) > SHOWN:
            yield f"  ... and {len(cells) - SHOWN} more"
    if len(groups) > MOST_ERRORS:
        yield f"... and {len(groups) - MOST_ERRORS} other errors"
    for entry in survey.entries:
        problem = entry.record.problem or entry.record.damage
        if problem:
            yield f"damaged: {problem if str(entry.path) in problem else f'{entry.path}: {problem}'}"


def _queue(survey: Survey) -> Iterator[str]:
    """Why cells wait, as SLURM says it."""
    if survey.silent:
        yield "SLURM does not answer: what is queued is not known"
    waiting: dict[tuple[str, str], list[Entry]] = {}
    for entry in survey.having("queued", "held"):
        if entry.queued:
            reason = entry.queued.reason if entry.queued.state == "PENDING" else f"their job is {entry.queued.state.lower()}"
            waiting.setdefault((entry.word, reason), []).append(entry)
    for (word, reason), entries in waiting.items():
        jobs = list(dict.fromkeys((entry.job or "").partition("_")[0] for entry in entries))
        release = f"; scontrol release {' '.join(jobs)}" if word == "held" else ""
        yield f"{len(entries)} {word}: {reason} (job {', '.join(jobs)}{release})"
