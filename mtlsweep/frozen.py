"""Cells as they were when they were handed to other processes, here or on a cluster. Loads neither torch nor submitit."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.plan import Task
from mtlsweep.runs import Cell, RunDirectory, State, Status


@dataclass(frozen=True)
class FrozenCell:
    """A cell as it was when it was handed over.

    Attributes:
        cell: with absolute paths, and the run directory's copy in place of a user's strategy file.
        directory: its run directory.
        redo_after: the attempt whose result is to be put aside; None: nothing is. A later attempt is this submission's own, or another's.
    """

    cell: Cell
    directory: Path
    redo_after: int | None

    @classmethod
    def of(cls, task: Task, settings: dict[str, Any], threads: int) -> "FrozenCell":
        """Freeze a task.

        Args:
            task: due.
            settings: as `RunDirectory.prepare` returned them.
            threads: of torch, where the settings leave it open.
        """
        runs_dir, root = (str(Path(path).expanduser().absolute()) for path in (settings["runs_dir"], settings["data"]["root"]))
        engine = settings["engine"] | {"threads": settings["engine"]["threads"] or threads}
        frozen = settings | {"runs_dir": runs_dir, "data": settings["data"] | {"root": root}, "engine": engine}
        return cls(
            replace(task.cell, settings=frozen),
            task.directory.path.expanduser().absolute(),
            task.status.attempt if task.action == "redo" else None,
        )

    def unfreeze(self) -> tuple[Task, dict[str, Any] | None]:
        """What is to be done now, and its settings, prepared; without settings nothing is, and `Task.lost` may say why."""
        try:
            task = Task.of(self.now())
            return task, task.directory.prepare(task.cell) if task.due else None
        except UserError as error:
            directory = RunDirectory(self.directory)
            return Task(self.cell, directory, "run", Status(State.pending, directory.attempt()), lost=str(error)), None

    def now(self) -> Cell:
        """The cell as it is to be executed now.

        Raises:
            UserError: code of the user's has been changed since, so that it would be another run.
        """
        if self.cell.directory != self.directory:
            raise UserError(f"{self.cell.label}: its loss has been changed while it waited; submit it again")
        done_since = RunDirectory(self.directory).attempt() != self.redo_after
        return replace(self.cell, settings=self.cell.settings | {"rerun": "none"}) if done_since else self.cell
