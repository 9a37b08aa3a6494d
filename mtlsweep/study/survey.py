"""Looks at a whole study at once: every cell, what its directory says, and what SLURM says about the job that was given it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtlsweep.forecast import kind
from mtlsweep.runs import Record, RunDirectory, State, loss_label, model_label, scan
from mtlsweep.runs.owner import answered
from mtlsweep.slurm import queue
from mtlsweep.slurm.queue import Job
from mtlsweep.slurm.submission import Submission

# In this order they are counted. Beside the states of a run: redo, a finished one that `rerun` was asked for and nobody has begun; queued
# and held, by SLURM; damaged, what cannot be read.
WORDS = ("completed", "diverged", "redo", "running", "queued", "held", "pending", "interrupted", "failed", "damaged")


@dataclass(frozen=True)
class Entry:
    """A cell of a study.

    Attributes:
        record: what its directory says.
        word: what has become of it, one of `WORDS`.
        name: what tells it from the study's others, for people.
        job: the newest SLURM job that was given it, `12_0`.
        log: what that job printed.
        queued: that job, if it has not ended.
    """

    record: Record
    word: str
    name: str
    job: str | None = None
    log: Path | None = None
    queued: Job | None = None

    @property
    def path(self) -> Path:
        """The run directory, or the file that is damaged."""
        return self.record.path

    @property
    def finished(self) -> bool:
        """Whether it has a result, and not one that is to be made anew."""
        return self.word in ("completed", "diverged")


@dataclass(frozen=True)
class Survey:
    """All of a study.

    Attributes:
        study: its folder.
        entries: its cells, by path, and what cannot be read.
        jobs: those of its jobs that are in SLURM's queue.
        silent: SLURM was asked about jobs and has not answered.
    """

    study: Path
    entries: Sequence[Entry]
    jobs: Sequence[Job] = ()
    silent: bool = False

    @classmethod
    def of(cls, study: Path) -> "Survey":
        """Read a study; SLURM is asked once, and only where jobs were submitted."""
        submissions = list(Submission.read_all(study))
        listed = queue.listed() if submissions else {}
        jobs = {number: job for submission in submissions for number, job in submission.among(listed or {}).items()}
        with answered({job.number: job.state for job in (listed or {}).values()} if listed is not None else None):
            records = [_checked(record) for record in scan(study)]
        given = _given(study, submissions, jobs)
        entries = [_entry(record, name, given, jobs) for record, name in zip(records, _names(records), strict=True)]
        return cls(study, entries, list(jobs.values()), listed is None)

    @property
    def words(self) -> Mapping[str, int]:
        """How many cells there are of each word."""
        found = Counter(entry.word for entry in self.entries)
        return {word: found[word] for word in WORDS if found[word]}

    @property
    def active(self) -> bool:
        """Whether something is running, or waits in SLURM's queue."""
        return bool(self.jobs) or any(entry.word == "running" for entry in self.entries)

    def having(self, *words: str) -> list[Entry]:
        """The cells of these words."""
        return [entry for entry in self.entries if entry.word in words]


def _checked(record: Record) -> Record:
    """With a problem instead of a description that lacks what every run's has."""
    try:
        if record.run:
            _name(record, ("data", "schedule"))
            kind(record.run["identity"])
        return record
    except (KeyError, TypeError, AttributeError) as error:
        return replace(record, run={}, problem=f"run.json: damaged ({type(error).__name__}: {error})")


def _given(study: Path, submissions: Iterable[Submission], jobs: Mapping[str, Job]) -> dict[Path, tuple[str, Path]]:
    """By run directory the job that has it now, else the last one that had it, and its log."""
    found: dict[Path, tuple[str, Path]] = {}
    for submission in submissions:
        for job, directories in submission.jobs.items():
            for path in (study / directory for directory in directories):
                if job in jobs or path not in found or found[path][0] not in jobs:
                    found[path] = job, submission.log(job)
    return found


def _entry(record: Record, name: str, given: Mapping[Path, tuple[str, Path]], jobs: Mapping[str, Job]) -> Entry:
    job, log = given.get(record.path, (None, None))
    entry = Entry(record, _word(record), name, job, log, jobs.get(job or ""))
    if entry.queued and _waits(entry.word, entry.queued):
        return replace(entry, word="held" if entry.queued.held else "queued")
    return entry


def _word(record: Record) -> str:
    if record.problem:
        return "damaged"
    redo = record.state in (State.completed, State.diverged) and RunDirectory(record.path).redo_asked
    return "redo" if redo else record.state.value


def _waits(word: str, job: Job) -> bool:
    """Whether a job will run a cell. One that runs does not try a cell again that has failed in it."""
    return word in ("pending", "interrupted", "redo") or (word == "failed" and job.state != "RUNNING")


def _names(records: Sequence[Record]) -> list[str]:
    """As short as they can be: data and schedule where the study has several, part of the signature where all else is the same."""
    several = [group for group in ("data", "schedule") if len({record.run["options"][group] for record in records if record.run}) > 1]
    names = [_name(record, several) for record in records]
    count = Counter(names)
    return [f"{name} {record.path.name}" if count[name] > 1 and record.run else name for record, name in zip(records, names, strict=True)]


def _name(record: Record, groups: Sequence[str]) -> str:
    if not record.run:
        return str(record.path)
    options, variant = record.run["options"], record.run["variant"]
    words = [model_label(options, variant), loss_label(options, variant), *(options[group] for group in groups)]
    return " ".join([*words, f"seed {record.run['seed']}"])
