"""Optuna's study, and which of its trials have been left by their processes."""

import time
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mtlsweep.errors import UserError
from mtlsweep.runs.owner import Owner, is_gone

# What a trial remembers: the process that launched it.
OWNER = "owner"


def open_study(storage: str | None, name: str, sampler: BaseSampler, direction: str) -> Study:
    """Optuna's study of this name, made where there is none.

    Args:
        storage: its URL; None: it is kept in memory.
        name: of the study.
        sampler: of values.
        direction: "maximize" or "minimize".

    Raises:
        UserError: the storage cannot be used, or the search went in the other direction.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        towards = StudyDirection[direction.upper()]
        study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, direction=towards, load_if_exists=True)
    except Exception as error:  # whatever the storage's driver raises
        raise UserError(f"hydra.sweeper.storage={storage}: Optuna cannot use it ({str(error).partition(chr(10))[0]})") from error
    if study.direction is not towards:
        raise UserError(f"hydra.sweeper.direction={direction}: this search has been made with {study.direction.name.lower()}")
    return study


def gone(known: Sequence[FrozenTrial], folder: Path) -> set[int]:
    """Numbers of the trials whose process has ended without a word."""
    begun = [trial for trial in known if trial.state is TrialState.RUNNING]
    silence = _silence(folder) if begun else 0.0
    return {trial.number for trial in begun if _is_gone(trial, silence)}


def _is_gone(trial: FrozenTrial, silence: float) -> bool:
    owner = trial.user_attrs.get(OWNER)
    return owner is None or is_gone(Owner.from_json(owner), silence)


def _silence(folder: Path) -> float:
    """Seconds since any run of a study has shown that it lives."""
    return time.time() - max((path.stat().st_mtime for path in folder.glob("*/*/*/*/attempts/*.json")), default=0.0)
