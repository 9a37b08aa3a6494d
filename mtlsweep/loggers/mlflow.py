"""MLflow: a SQLite file in the study's folder, no server; `mlflow ui --backend-store-uri sqlite:///runs/STUDY/mlflow.db` shows it."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlsweep.loggers.base import ALWAYS, MEASURED, Entry, Logger, need, numbers, summary
from mtlsweep.sqlite import sqlite_url

# The tag that a run's entry is found again by.
_KEY = "mtlsweep.run"

# The tag that says when the run began that the entry is of.
_BEGAN = "mtlsweep.began"

# The tag that says how the run is, and what MLflow calls that.
_STATE = "mtlsweep.status"
_ENDS = {"completed": "FINISHED", "diverged": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow(Logger):
    """An experiment named as the study; metrics by epoch under the names of `metrics.csv`, the result's after the last epoch.

    Args:
        file: the SQLite file; None: `mlflow.db` in the study's folder.

    Raises:
        UserError: mlflow, or what it needs for SQLite, is not installed.
    """

    def __init__(self, file: str | None = None) -> None:
        need("mlflow", "mlflow", "sqlalchemy", "alembic")
        self._file = file
        self._client: Any = None
        self._run = ""

    def start(self, entry: Entry) -> int:
        """Find the run's entry in the file, or make one."""
        file = Path(self._file).expanduser().absolute() if self._file else entry.study / "mlflow.db"
        # Not the functions on the module: they keep one current run for the whole process, and here several take turns.
        self._client = _client(file)
        experiment = self._experiment(entry.study)
        of_key = self._client.search_runs([experiment], f"tags.`{_KEY}` = '{entry.key}'")
        found = [run for run in of_key if not entry.began or run.data.tags.get(_BEGAN, "") in ("", entry.began)]
        if not found:
            self._run = self._begin(experiment, entry)
            return 0
        self._run = found[0].info.run_id
        self._client.update_run(self._run, "RUNNING")
        self._client.set_tag(self._run, _STATE, "running")
        return max((metric.step for metric in self._client.get_metric_history(self._run, ALWAYS)), default=0)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log an epoch, all of it or nothing."""
        self._log({name: value for name, value in numbers(row).items() if name in MEASURED}, row["epoch"])

    def finish(self, result: Mapping[str, Any]) -> None:
        """Log the result and end the entry."""
        self._log(summary(result), result["epochs"])
        self.leave(result["status"])

    def leave(self, state: str) -> None:
        """End the entry; it begins again if the run does."""
        self._client.set_tag(self._run, _STATE, state)
        self._client.set_terminated(self._run, _ENDS[state])

    def _experiment(self, study: Path) -> str:
        from mlflow.exceptions import MlflowException

        if not self._client.get_experiment_by_name(study.name):
            with contextlib.suppress(MlflowException):  # another process has just made it
                # Nothing is put there; by default it would be a folder wherever the command is given.
                self._client.create_experiment(study.name, artifact_location=(study / "mlartifacts").as_uri())
        return str(self._client.get_experiment_by_name(study.name).experiment_id)

    def _begin(self, experiment: str, entry: Entry) -> str:
        from mlflow.entities import Param

        tags = {_KEY: entry.key, _BEGAN: entry.began, _STATE: "running"} | {f"mtlsweep.{name}": value for name, value in entry.tags.items()}
        commit = {"mlflow.source.git.commit": entry.tags["commit"]} if "commit" in entry.tags else {}
        run = str(self._client.create_run(experiment, tags=tags | commit, run_name=entry.name).info.run_id)
        self._client.log_batch(run, params=[Param(name, str(value)) for name, value in entry.params.items()])
        return run

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def _client(file: Path) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it is sent from the moment of the import
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a new file is worth no lines in the middle of a run's
    url = sqlite_url(file)
    if not file.exists():
        _create(file)
    return MlflowClient(tracking_uri=url)


def _create(file: Path) -> None:
    """Make the file, whole or not at all: MLflow fills it table by table, and two processes at once, or one that is killed, spoil it."""
    from mlflow import MlflowClient

    own = file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        MlflowClient(tracking_uri=sqlite_url(own)).search_experiments()
        with contextlib.suppress(FileExistsError):  # another process has made it in the meantime
            os.link(own, file)
    finally:
        own.unlink(missing_ok=True)
