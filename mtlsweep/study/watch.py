"""`python -m mtlsweep status STUDY --watch`: the status again and again, until nothing is running or queued."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep

from rich.live import Live

from mtlsweep.progress import console
from mtlsweep.slurm import queue
from mtlsweep.slurm.ends import how_it_ended
from mtlsweep.study.page import lost, picture, show, summary
from mtlsweep.study.survey import Survey

# Between two looks at least so many times what one takes.
SHARE = 4

# Between two cells of a sweep nothing is running for a moment.
IDLE_POLLS = 2


class Ends:
    """How jobs ended that left a cell without a result; SLURM's accounting is asked, and its log read, once for each."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, survey: Survey) -> Mapping[str, str]:
        """Those of a survey."""
        new = {entry.job: entry.log for entry in lost(survey) if entry.job and entry.log and entry.job not in self._known}
        if new:
            states = queue.ended_as(new.keys())
            self._known |= {job: how_it_ended(states.get(job, "unknown"), log) for job, log in new.items()}
        return self._known


def once(study: Path) -> None:
    """Print a study's status."""
    survey = Survey.of(study)
    show(survey, Ends().of(survey))


def watch(study: Path) -> None:
    """Show a study's status until nothing is running or queued, or the user has seen enough; then print it. Where the output is no
    terminal, print a line whenever it has changed.

    Raises:
        KeyboardInterrupt: the user has seen enough; the runs go on.
    """
    ends, looks = Ends(), _looks(study)
    survey = next(looks)
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            last = ""
            while True:
                if console.is_terminal:
                    live.update(picture(survey, ends.of(survey)), refresh=True)
                elif (line := summary(survey)) != last:
                    console.print(f"{datetime.now():%H:%M:%S} {line}")
                    last = line
                survey = next(looks)
    except StopIteration:
        pass
    finally:
        show(survey, ends.of(survey))


def _looks(study: Path) -> Iterator[Survey]:
    """At a study, until nothing is running or queued."""
    began, idle = monotonic(), 0
    while idle < IDLE_POLLS:
        looked = monotonic()
        survey = Survey.of(study)
        # Where there is no SLURM, nothing can be said about its queue, ever.
        active = survey.active or (survey.silent and shutil.which("squeue"))
        idle = 0 if active else idle + 1
        yield survey
        took = monotonic() - looked
        sleep(max(queue.pause(looked - began), SHARE * took))
