"""The sweeper `hydra/sweeper=optuna`: the cells of a sweep are the trials of a search with Optuna.

(Hydra's own plugin for Optuna is of Optuna 2; it begins anew what was stopped, ends at the first failure, and counts the trials of each
command for themselves. This one keeps the contract of a sweep.)
"""

from collections.abc import Sequence
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mtlsweep_launcher.cells import CellLauncher
from hydra_plugins.mtlsweep_launcher.overrides import distribution, in_words, is_whole, overrides_of, search_name
from mtlsweep.errors import UserError
from mtlsweep.plan import plan
from mtlsweep.progress import console
from mtlsweep.runs import Cell, RunDirectory
from mtlsweep.sqlite import sqlite_url
from mtlsweep.sweep import CellFailed, launched

if TYPE_CHECKING:  # loads Optuna
    from optuna.trial import Trial

    from mtlsweep.search import Measured, Params, Search, Space


# What is raised where a setting is at fault, and more.
_OF_SETTINGS = (UserError, HydraException, OmegaConfBaseException)


class SearchSweeper(Sweeper):
    """Asks Optuna for values, has them run, and tells it what came of them.

    Args:
        options: see `conf/hydra/sweeper/optuna.yaml`.
    """

    def __init__(self, **options: Any) -> None:
        self._given = options
        self._there: dict[Path, Cell] = {}  # of the trials that ended before this command

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before the sweep.

        Raises:
            UserError: Optuna is not installed, or an option is at fault.
        """
        version = _optuna()
        if int(version.partition(".")[0]) < 3:
            found = version if version != "0" else "none"
            raise UserError(f"hydra/sweeper=optuna: needs Optuna 3 or newer (here: {found}): .venv/bin/pip install -e '.[optuna]'")
        from mtlsweep.search import parse  # loads Optuna

        self._config = config
        self._options = parse(self._given)
        _check_rerun(config)
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        launcher = Plugins.instance().instantiate_launcher(config=config, hydra_context=hydra_context, task_function=task_function)
        assert isinstance(launcher, CellLauncher)  # no other one of Hydra's is an option
        self._launcher = launcher

    def sweep(self, arguments: list[str]) -> None:
        """Search until all trials are done.

        Raises:
            UserError: what is to be searched is at fault.
            CellFailed: a trial failed; the search has gone on without it.
            KeyboardInterrupt: the user has stopped it; the same command goes on.
        """
        space, same = self._space(arguments)
        search = self._open(space, same)
        console.print(f"search over {', '.join(space)}: {_counts(search)}")
        if self._config.dry_run:
            self._show(search, same)
            return
        search.begin()
        if self._there:  # the closing table is of the search, whichever command its trials are of
            launched.extend(plan(list(self._there.values())).values())
        failed = False
        while trials := list(islice(iter(search.ask, None), self._options.n_jobs)):
            for trial in trials:
                console.print(f"trial {trial.number}: {in_words(trial.params)}")
            failed |= self._launch(search, trials, same)
        if search.exhausted:
            console.print("all combinations of these values have been tried")
        best = search.best
        if best:
            on = "held-out" if self._config.data.validation else "TEST"
            console.print(f"best: {best.value:.2f} % of the {on} images in trial {best.number}: {in_words(best.params)}")
        if failed:
            raise CellFailed("a trial failed")

    def _space(self, arguments: Sequence[str]) -> "tuple[Space, list[str]]":
        """What is searched, and the overrides that all trials have."""
        from mtlsweep.search import Space  # loads Optuna

        params = [f"{name}={value}" for name, value in (self._options.params or {}).items()]
        # What the command line says comes last and counts.
        overrides = {override.get_key_element(): override for override in self._parser.parse_overrides([*params, *arguments])}
        swept = {name: override for name, override in overrides.items() if override.is_sweep_override()}
        space = Space({name: distribution(override, is_whole(self._config, name)) for name, override in swept.items()})
        if not space:
            raise UserError("hydra/sweeper=optuna: nothing to search; add for example 'curriculum.power=interval(0.5, 4.0)'")
        if "seed" in space:
            raise UserError("seed: the best of several seeds says nothing; search with one, and run the best values with others")
        return space, [override.input_line or "" for name, override in overrides.items() if name not in space]

    def _open(self, space: "Space", same: Sequence[str]) -> "Search":
        from mtlsweep.search import Search, make_sampler, open_study  # loads Optuna

        options = self._options
        folder = Path(self._config.runs_dir).expanduser() / self._config.study
        sampler = make_sampler(options.sampler, options.sampler_options)
        name = options.study_name or search_name(space, same)
        study = open_study(options.storage or self._own_storage(folder / "search.db"), name, sampler, options.direction)
        return Search(study, space, options.n_trials, folder, partial(self._measure, same))

    def _own_storage(self, file: Path) -> str | None:
        url = sqlite_url(file)
        if self._config.dry_run and not file.exists():
            return None  # nothing is written
        file.parent.mkdir(parents=True, exist_ok=True)
        return url

    def _measure(self, same: Sequence[str], values: "Sequence[Params]") -> "list[Measured | None]":
        """What the runs of these values have come to; None for each that has no result, or is no run (any more)."""
        from mtlsweep.search import Measured  # loads Optuna

        cells = self._cells([[*overrides_of(params), *same] for params in values])
        measured = [Measured.of(RunDirectory(cell.directory)) if cell else None for cell in cells]
        self._there = {cell.directory: cell for cell, found in zip(cells, measured, strict=True) if cell and found}
        return measured

    def _cells(self, all_overrides: Sequence[Sequence[str]]) -> list[Cell | None]:
        try:
            return list(self._launcher.cells(all_overrides))  # together they share what takes time
        except _OF_SETTINGS:
            return [self._cell(overrides) for overrides in all_overrides]

    def _cell(self, overrides: Sequence[str]) -> Cell | None:
        try:
            return self._launcher.cells([overrides])[0]
        except _OF_SETTINGS:
            return None

    def _launch(self, search: "Search", trials: "Sequence[Trial]", same: Sequence[str]) -> bool:
        """Run trials; whether one of them failed."""
        cells = [[*overrides_of(trial.params), *same] for trial in trials]
        try:
            returns = self._launcher.launch(cells, initial_job_idx=trials[0].number)
        except BaseException as error:  # also of a machine that lacks something, which is no fault of the values
            for trial, overrides in zip(trials, cells, strict=True):
                fault = self._fault(overrides) if isinstance(error, _OF_SETTINGS) else None
                if fault:
                    search.refuse(trial, fault)
                else:
                    search.tell(trial, None)
            raise
        for trial, job in zip(trials, returns, strict=True):
            search.tell(trial, _measured(job))
        return any(job.status is JobStatus.FAILED for job in returns)

    def _fault(self, overrides: Sequence[str]) -> str | None:
        """What of a cell makes it no run on any machine."""
        from mtlsweep.train import check_calls  # loads torch

        try:
            check_calls([cell.settings for cell in self._launcher.cells([overrides])])
        except _OF_SETTINGS as error:
            return str(error)
        return None

    def _show(self, search: "Search", same: Sequence[str]) -> None:
        known = [*search.done, *search.next]
        if known:
            self._launcher.launch([[*overrides_of(params), *same] for params in known], initial_job_idx=0)
        new = search.left - len(search.next)
        console.print(f"dry run, nothing trained: the values of {new} trials are chosen when their turn comes")


def _check_rerun(config: DictConfig) -> None:
    """A search does again what failed, and nothing else: whatever has a result is a trial that is done."""
    asked = OmegaConf.to_container(config, enum_to_str=True)["rerun"]  # type: ignore[call-overload,index]
    if asked in ("all", "diverged"):
        raise UserError(f"rerun={asked}: a search takes runs as they are; those that python -m mtlsweep clean deletes are done again")


def _counts(search: "Search") -> str:
    done = len(search.done)
    said = f"{done} of {done + search.elsewhere + search.left} trials done"
    if search.elsewhere:
        said += f", {search.elsewhere} are other processes'"
    if search.outdated:
        why = "other values, or no such result in the study"
        said += f", {len(search.outdated)} no longer count ({why}), but the sampler still learns from them"
    return said


def _measured(job: JobReturn) -> "Measured | None":
    """What the run came to; None where it failed, or is another process's."""
    from mtlsweep.search import Measured  # loads Optuna

    return None if job.status is JobStatus.FAILED else Measured.of(RunDirectory(Path(job.working_dir or "")))


def _optuna() -> str:
    """The installed version; 0: none."""
    try:
        return metadata.version("optuna")
    except metadata.PackageNotFoundError:
        return "0"
