"""Which SLURM jobs a sweep has submitted, and what they were given; kept beside the sweep's list of cells."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtlsweep.runs import files, now
from mtlsweep.runs.provenance import code_version
from mtlsweep.runs.sweep_record import FOLDER

PATTERN = "jobs-*.json"
# Below a sweep's folder: the jobs' logs and what submitit keeps.
LOGS = "jobs"


@dataclass
class Submission:
    """One launch's jobs, as `<study>/.sweeps/<time>-<pid>/jobs-<k>.json` lists them with the commit at submission.

    Attributes:
        path: of the record.
        jobs: by job id, the run directories that the job was given, relative to the study's folder.
    """

    path: Path
    jobs: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path) -> "Submission":
        """A new one in a sweep's folder."""
        return cls(folder / f"jobs-{len(list(folder.glob(PATTERN)))}.json")

    def add(self, jobs: Mapping[str, list[str]]) -> None:
        """Record jobs that have just been submitted."""
        self.jobs |= jobs
        files.write_json(self.path, {"submitted": now(), "code": code_version(), "jobs": self.jobs})

    def log(self, job: str) -> Path:
        """What a job printed."""
        return self.path.parent / LOGS / f"{job}_0_log.out"

    @classmethod
    def read_all(cls, study: Path) -> Iterator["Submission"]:
        """Those of a study, oldest first; damaged records are passed over."""
        for path in sorted((study / FOLDER).glob(f"*/{PATTERN}")):
            with contextlib.suppress(ValueError, KeyError, AttributeError):
                record = files.read_json(path) or {}
                yield cls(path, dict(record["jobs"].items()))


def waiting(study: Path, queued: Mapping[str, str]) -> dict[Path, tuple[str, Submission]]:
    """The run directories of a study that a job in SLURM's queue has been given: that job and its submission.

    Args:
        study: its folder.
        queued: state of each job that has not ended.
    """
    found: dict[Path, tuple[str, Submission]] = {}
    for submission in Submission.read_all(study):
        for job, directories in submission.jobs.items():
            if job in queued:
                found |= {study / directory: (job, submission) for directory in directories}
    return found
