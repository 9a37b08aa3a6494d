"""The sweeper `hydra/sweeper=grid`: Hydra's own, without its check of every cell, which the launcher does better."""

import contextlib
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from mtlsweep.progress import console
from mtlsweep.runs import SweepRecord
from mtlsweep.swept import sweeps_experiments


class GridSweeper(BasicSweeper):
    """All combinations of the values given. Composing a cell takes 50 ms or more, so it is done once, by the launcher, not twice.

    All are launched together: Hydra's batches end with the first that has a failure, and the others would not even be known as missing.

    Args:
        params: what is swept when the command line does not say.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch all combinations of these overrides."""
        if sweeps_experiments(arguments):
            console.print("note: experiments that are swept over set the settings of runs; the sweeps that they name are not made")
        try:
            return super().sweep(arguments)
        finally:
            assert self.config is not None
            _remove_unused(Path(self.config.hydra.sweep.dir))

    def validate_batch_is_legal(self, batch: object) -> None:
        """Nothing: the launcher checks every cell before the first one trains."""


def _remove_unused(folder: Path) -> None:
    """Hydra makes the sweep's folder before it is known whether anything will run; a dry run or a typing error leaves none behind.

    The folder may be any that the user named: only Hydra's own file and folders that are empty are removed.
    """
    if SweepRecord.in_folder(folder):
        return
    (folder / "multirun.yaml").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        for level in (folder, folder.parent, folder.parent.parent):
            level.rmdir()
