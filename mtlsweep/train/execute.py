"""Executes a run in its directory: takes it, trains, writes its result."""

from typing import Any

import torch

from mtlsweep.errors import UserError
from mtlsweep.losses.user import faults_named
from mtlsweep.progress import Display
from mtlsweep.runs import Claim, RunDirectory
from mtlsweep.runs.signature import source_file
from mtlsweep.settings import CALLS
from mtlsweep.train.engine import resolve
from mtlsweep.train.lanes import Lane, Turns, fair_clock
from mtlsweep.train.run import Run


def on_lane(directory: RunDirectory, settings: dict[str, Any], display: Display, anew: bool = False) -> Lane:
    """The run of this directory, to be trained a step at a time to its end, from its checkpoint if it has one.

    The lane ends with the run's result (`runs.schema.Result`), or raises
        Taken: another process executes the run.
        UserError: a setting, a file or a strategy is at fault. The run is recorded as failed, as for any other exception.

    Args:
        directory: prepared.
        settings: of the run, as `RunDirectory.prepare` returned them.
        display: where the run's lines and steps are shown.
        anew: put an earlier result or checkpoint aside and begin at the first epoch.
    """
    try:
        device = resolve(settings["engine"]).device
    except UserError:
        device = torch.device("cpu")  # the run will raise it too, and record it
    own_code = any(source_file(settings[group]) for group in CALLS)
    return Lane(_turns(directory, settings, display, anew), device, draws=own_code)


def _turns(directory: RunDirectory, settings: dict[str, Any], display: Display, anew: bool) -> Turns[dict[str, Any]]:
    with Claim(directory, settings, anew) as claim:
        finished = directory.result()  # by another process, between the caller's look and this claim
        if finished:
            return finished
        with fair_clock.stopped():
            run = Run(claim, settings, directory.describe(), display)
        with run.tracked():
            with faults_named(run.strategy):
                yield from run.train()
            return run.finish()
