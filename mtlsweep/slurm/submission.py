"""Which SLURM jobs a sweep has submitted, and what they were given; kept beside the sweep's list of cells."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtlsweep.runs import files, now
from mtlsweep.runs.provenance import code_version
from mtlsweep.runs.sweep_record import FOLDER
from mtlsweep.slurm.queue import Job

PATTERN = "jobs-*.json"
# Below a sweep's folder: the jobs' logs and what submitit keeps.
LOGS = "jobs"


@dataclass
class Submission:
    """One launch's jobs, as `<study>/.sweeps/<time>-<pid>/jobs-<k>.json` lists them with the commit at submission.

    Attributes:
        path: of the record.
        names: that the jobs have in SLURM's queue: one, or where an older record does not say it, those that it may be.
        jobs: by job id, the run directories that the job was given, relative to the study's folder.
    """

    path: Path
    names: Collection[str]
    jobs: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, name: str) -> "Submission":
        """A new one in a sweep's folder, of jobs of this name."""
        return cls(folder / f"jobs-{len(list(folder.glob(PATTERN)))}.json", [name])

    def add(self, jobs: Mapping[str, list[str]]) -> None:
        """Record jobs that have just been submitted."""
        self.jobs |= jobs
        files.write_json(self.path, {"submitted": now(), "code": code_version(), "name": next(iter(self.names)), "jobs": self.jobs})

    def among(self, listed: Mapping[str, Job]) -> dict[str, Job]:
        """Its jobs among those that SLURM lists, by id. The id alone does not tell: SLURM uses numbers again, and a study's folder may be
        copied to another cluster."""
        return {number: job for number, job in listed.items() if number in self.jobs and job.name in self.names}

    def log(self, job: str) -> Path:
        """What a job printed."""
        return self.path.parent / LOGS / f"{job}_0_log.out"

    @classmethod
    def read_all(cls, study: Path) -> Iterator["Submission"]:
        """Those of a study, oldest first; damaged records are passed over."""
        called = {study.name, study.resolve().name}  # the study may be looked at through a link
        for path in sorted((study / FOLDER).glob(f"*/{PATTERN}")):
            with contextlib.suppress(ValueError, KeyError, AttributeError):
                record = files.read_json(path) or {}
                yield cls(path, [record["name"]] if "name" in record else called, dict(record["jobs"].items()))


def waiting(study: Path, listed: Mapping[str, Job]) -> dict[Path, tuple[Job, Submission]]:
    """The run directories of a study that a job in SLURM's queue has been given: that job and its submission.

    Args:
        study: its folder.
        listed: the jobs that have not ended, by id.
    """
    found: dict[Path, tuple[Job, Submission]] = {}
    for submission in Submission.read_all(study):
        for job in submission.among(listed).values():
            found |= {study / directory: (job, submission) for directory in submission.jobs[job.id]}
    return found
