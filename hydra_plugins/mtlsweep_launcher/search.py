"""The sweeper `hydra/sweeper=optuna`: the cells of a sweep are the trials of a search with Optuna.

(Hydra's own plugin for Optuna is of Optuna 2; it begins anew what was stopped, ends at the first failure, and counts the trials of each
command for themselves. This one keeps the contract of a sweep.)
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mtlsweep_launcher.cells import CellLauncher
from mtlsweep.errors import UserError
from mtlsweep.progress import console
from mtlsweep.runs.signature import NEUTRAL
from mtlsweep.sweep import CellFailed

if TYPE_CHECKING:  # loads Optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

    from mtlsweep.search import Search


# What is raised where a setting is at fault, and more.
_OF_SETTINGS = (UserError, HydraException, OmegaConfBaseException)


class SearchSweeper(Sweeper):
    """Asks Optuna for values, has them run, and tells it what came of them.

    Args:
        options: see `conf/hydra/sweeper/optuna.yaml`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before the sweep.

        Raises:
            UserError: Optuna is not installed, or an option is at fault.
        """
        version = _optuna()
        if int(version.partition(".")[0]) < 3:
            found = version if version != "0" else "none"
            raise UserError(f"hydra/sweeper=optuna: needs Optuna 3 or newer (here: {found}): .venv/bin/pip install -e '.[optuna]'")
        self._config = config
        self._check_options()
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
        total = len(search.done) + search.elsewhere + search.left
        others = f", {search.elsewhere} are other processes'" if search.elsewhere else ""
        console.print(f"search over {', '.join(space)}: {len(search.done)} of {total} trials done{others}")
        if self._config.dry_run:
            self._show(search, same)
            return
        search.begin()
        failed = False
        while search.left:
            trials = [search.ask() for _ in range(min(search.left, self._options["n_jobs"]))]
            for trial in trials:
                console.print(f"trial {trial.number}: {_words(trial.params)}")
            failed |= self._launch(search, trials, same)
        best = search.best
        if best:
            console.print(f"best: {best.value:.2f} % in trial {best.number}: {_words(best.params)}")
        if failed:
            raise CellFailed("a trial failed")

    def _check_options(self) -> None:
        for name in ("n_trials", "n_jobs"):
            value = self._options[name]
            if type(value) is not int or value < 1:
                raise UserError(f"hydra.sweeper.{name}={value}: must be a whole number of at least 1")
        if self._options["direction"] not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={self._options['direction']}: must be maximize or minimize")

    def _space(self, arguments: Sequence[str]) -> "tuple[dict[str, BaseDistribution], list[str]]":
        """What is searched, and the overrides that all trials have."""
        params = [f"{name}={value}" for name, value in (self._options["params"] or {}).items()]
        # What the command line says comes last and counts.
        overrides = {override.get_key_element(): override for override in self._parser.parse_overrides([*params, *arguments])}
        space = {name: _distribution(override) for name, override in overrides.items() if override.is_sweep_override()}
        if not space:
            raise UserError("hydra/sweeper=optuna: nothing to search; add for example 'curriculum.power=interval(0.5, 4.0)'")
        if "seed" in space:
            raise UserError("seed: the best of several seeds says nothing; search with one, and run the best values with others")
        return space, [override.input_line or "" for name, override in overrides.items() if name not in space]

    def _open(self, space: "Mapping[str, BaseDistribution]", same: Sequence[str]) -> "Search":
        from mtlsweep.search import Search, make_sampler, open_study  # loads Optuna

        folder = Path(self._config.runs_dir).expanduser() / self._config.study
        file = (folder / "search.db").absolute()
        storage = self._options["storage"] or f"sqlite:///{file}"
        if self._config.dry_run and not file.exists():
            storage = self._options["storage"]  # nothing is written
        elif not self._options["storage"]:
            file.parent.mkdir(parents=True, exist_ok=True)
        sampler = make_sampler(self._options["sampler"], self._options["sampler_options"])
        name = self._options["study_name"] or _name(space, same)
        return Search(open_study(storage, name, sampler, self._options["direction"]), space, self._options["n_trials"], folder)

    def _launch(self, search: "Search", trials: "Sequence[Trial]", same: Sequence[str]) -> bool:
        """Run trials; whether one of them failed."""
        cells = [[*_overrides(trial.params), *same] for trial in trials]
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
            search.tell(trial, _value(job))
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
            self._launcher.launch([[*_overrides(params), *same] for params in known], initial_job_idx=0)
        new = search.left - len(search.next)
        console.print(f"dry run, nothing trained: the values of {new} trials are chosen when their turn comes")


def _optuna() -> str:
    """The installed version; 0: none."""
    try:
        return metadata.version("optuna")
    except metadata.PackageNotFoundError:
        return "0"


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if not isinstance(value, IntervalSweep):
            return CategoricalDistribution([str(choice) for choice in override.sweep_iterator(transformer=Transformer.encode)])
        low, high = value.start, value.end
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log="log" in value.tags)
        return FloatDistribution(float(low or 0), float(high or 0), log="log" in value.tags)
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from error


def _name(space: Mapping[str, object], same: Sequence[str]) -> str:
    """Of a search: what is searched, and all else that was said and decides numbers."""
    keys = {line: line.lstrip("+~").partition("=")[0] for line in same}
    return "; ".join([*sorted(space), *sorted(line for line, key in keys.items() if not {key, key.partition(".")[0]} & NEUTRAL)])


def _overrides(params: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in params.items()]


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items())


def _value(job: JobReturn) -> float | None:
    """The run's objective; None where it failed, diverged at once, or is another process's."""
    return None if job.status is JobStatus.FAILED or job.return_value is None else float(job.return_value)
