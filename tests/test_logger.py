"""What a tracker shows is what the run's own files say: each epoch once, however the run is interrupted; and no tracker can end a run."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import EVERY_EPOCH, ROOT, TINY, CommandLine, only_run
from recorder import Recorder
from trained import interrupt_after, metrics, result, train

from mtlsweep.config import register
from mtlsweep.loggers import Entry

NEVER = "checkpoint_seconds=3600"
STEPS = 4  # of an epoch of TINY


@dataclass
class Shown:
    """What a tracker shows of one run.

    Attributes:
        epochs: the epochs it shows accuracies for, in their order.
        accuracies: these accuracies.
        params: what it says the run was made of, as text.
        final: figures of the result.
        state: how it says the run ended; None where it does not say.
    """

    epochs: list[int]
    accuracies: list[float]
    params: dict[str, str]
    final: dict[str, float] = field(default_factory=dict)
    state: str | None = None


def of_recorder(study: Path) -> dict[str, Shown]:
    return {
        key: Shown(
            [row["epoch"] for row in kept.rows],
            [row["test_fine_acc"] for row in kept.rows],
            {name: str(value) for name, value in kept.entry.params.items()} if kept.entry else {},
            {name: value for name, value in kept.result.items() if name.endswith("_acc") and value is not None},
            kept.state,
        )
        for (of, key), kept in Recorder.kept.items()
        if of == study.name
    }


def of_tensorboard(study: Path) -> dict[str, Shown]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    shown = {}
    for folder in {path.parent for path in study.glob("tensorboard/**/events.*")}:
        found = EventAccumulator(str(folder)).Reload()
        tags = found.Tags()["scalars"]
        series = found.Scalars("test_fine_acc") if "test_fine_acc" in tags else []
        content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        params = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        shown[folder.relative_to(study / "tensorboard").as_posix()] = Shown(
            [event.step for event in series],
            [event.value for event in series],
            {name: value.string_value or f"{value.number_value:g}" for name, value in params.items()},
            {tag.removeprefix("final/"): found.Scalars(tag)[-1].value for tag in tags if tag.startswith("final/")},
        )
    return shown


def of_mlflow(study: Path) -> dict[str, Shown]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{study.absolute() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(study.name)
    assert experiment
    shown = {}
    for run in client.search_runs([experiment.experiment_id]):
        series = client.get_metric_history(run.info.run_id, "test_fine_acc")
        state = run.data.tags["mtlsweep.status"]
        ends = {"completed": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "running": "RUNNING"}
        assert ends[state] == run.info.status
        shown[run.data.tags["mtlsweep.run"]] = Shown(
            [metric.step for metric in series], [metric.value for metric in series], run.data.params, run.data.metrics, state
        )
    return shown


Read = Callable[[Path], dict[str, Shown]]


@dataclass
class Tracker:
    """A tracker under test: how it is asked for, and how it is read."""

    options: list[str]
    read: Read

    def only(self) -> Shown:
        """What it shows of the only run."""
        (shown,) = self.read(Path("runs/s")).values()
        return shown


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes a second to make one."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=["recorder", "tensorboard", "mlflow"])
def tracker(request: pytest.FixtureRequest) -> Iterator[Tracker]:
    Recorder.kept.clear()
    match request.param:
        case "recorder":
            yield Tracker(["logger._target_=recorder.Recorder"], of_recorder)
        case "tensorboard":
            pytest.importorskip("tensorboard")
            yield Tracker(["logger=tensorboard"], of_tensorboard)
        case "mlflow":
            pytest.importorskip("sqlalchemy")
            database = request.getfixturevalue("empty_database")
            request.getfixturevalue("cli")  # which makes the folder that the study is in
            Path("runs/s").mkdir(parents=True)
            shutil.copy(database, "runs/s/mlflow.db")
            yield Tracker(["logger=mlflow"], of_mlflow)


def interrupted(cli: CommandLine, *arguments: str, after: int) -> None:
    """A run of TINY that is interrupted after so many steps."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(after, patch)
        assert cli(*TINY, "study=s", *arguments).status == 130


def check(shown: Shown, run: Path) -> None:
    """That a tracker shows each epoch of a run once, with the run's numbers."""
    rows = metrics(run)
    assert shown.epochs == [int(row["epoch"]) for row in rows]
    assert shown.accuracies == pytest.approx([float(row["test_fine_acc"]) for row in rows])


def test_tracker_shows_what_the_runs_files_say(cli: CommandLine, tracker: Tracker) -> None:
    run = train(cli, "loss=haw", "loss.beta=3", *tracker.options)
    shown, said = tracker.only(), result(run)
    check(shown, run)
    assert {name: shown.final[name] for name in ("best_fine_acc", "last_fine_acc")} == pytest.approx(
        {name: said[name] for name in ("best_fine_acc", "last_fine_acc")}
    )
    expected = {"model": "resnet20", "loss": "haw", "curriculum": "none", "data": "synthetic", "schedule": "smoke", "engine": "auto"}
    expected |= {"seed": "42", "loss.beta": "3", "model.depth": "8", "schedule.epochs": "3", "data.train_size": "100"}
    assert {name: shown.params[name].removesuffix(".0") for name in expected} == expected
    assert shown.state in ("completed", None)


def test_tracker_changes_neither_the_identity_nor_the_numbers(cli: CommandLine, tracker: Tracker) -> None:
    run = train(cli, *tracker.options)
    assert "done already" in cli(*TINY, "study=s").out
    assert metrics(train(cli, study="alone")) == metrics(run)


@pytest.mark.parametrize("checkpoints", [EVERY_EPOCH, NEVER])
def test_resumed_run_goes_on_in_its_entry_and_logs_no_epoch_twice(cli: CommandLine, tracker: Tracker, checkpoints: str) -> None:
    interrupted(cli, checkpoints, *tracker.options, after=2 * STEPS + 1)
    shown = tracker.only()
    assert shown.epochs == [1, 2]
    assert shown.state in ("interrupted", None)
    run = train(cli, checkpoints, *tracker.options)  # without a checkpoint from the first epoch on; the tracker has two
    check(tracker.only(), run)
    assert tracker.only().state in ("completed", None)


def test_tracker_that_comes_later_is_told_the_epochs_before(cli: CommandLine, tracker: Tracker) -> None:
    interrupted(cli, EVERY_EPOCH, after=2 * STEPS + 1)
    run = train(cli, EVERY_EPOCH, *tracker.options)
    check(tracker.only(), run)


def test_run_that_is_done_again_has_an_entry_of_its_own(cli: CommandLine, tracker: Tracker) -> None:
    run = train(cli, *tracker.options)
    train(cli, *tracker.options, "rerun=all")
    key = run.relative_to("runs/s").as_posix()
    shown = tracker.read(Path("runs/s"))
    assert sorted(shown) == [key, f"{key}-again1"]
    for one in shown.values():
        check(one, run)


def test_run_that_was_removed_and_is_run_anew_has_an_entry_of_its_own(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In TensorBoard; the earlier entry stays as it was."""
    pytest.importorskip("tensorboard")
    with monkeypatch.context() as patch:
        patch.setattr("mtlsweep.runs.claim.now", lambda: "2026-01-01T00:00:00+00:00")
        run = train(cli, "logger=tensorboard")
    shutil.rmtree(run)
    with monkeypatch.context() as patch:
        patch.setattr("mtlsweep.runs.claim.now", lambda: "2026-01-02T00:00:00+00:00")
        interrupted(cli, EVERY_EPOCH, "logger=tensorboard", after=2 * STEPS + 1)
    train(cli, "logger=tensorboard")
    key = run.relative_to("runs/s").as_posix()
    shown = of_tensorboard(Path("runs/s"))
    assert sorted(shown) == [key, f"{key}-20260102000000"]
    for one in shown.values():
        check(one, run)


def test_mlflow_has_an_entry_for_each_of_a_run_and_the_one_that_was_removed_before_it(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    for day in (1, 2):
        monkeypatch.setattr("mtlsweep.runs.claim.now", lambda day=day: f"2026-01-0{day}T00:00:00+00:00")
        run = train(cli, "logger=mlflow")
        if day == 1:
            shutil.rmtree(run)
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('runs/s/mlflow.db').absolute()}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments() if experiment.name == "s"])
    assert {one.data.tags["mtlsweep.run"] for one in found} == {run.relative_to("runs/s").as_posix()}
    assert {one.data.tags["mtlsweep.began"] for one in found} == {"2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"}
    assert [[metric.step for metric in client.get_metric_history(one.info.run_id, "test_fine_acc")] for one in found] == [[1, 2, 3]] * 2


def test_runs_that_take_turns_have_entries_of_their_own(cli: CommandLine, tracker: Tracker) -> None:
    assert cli("-m", *TINY, "study=s", "seed=1,2,3", "hydra.launcher.lanes=3", *tracker.options).status == 0
    shown = tracker.read(Path("runs/s"))
    assert sorted(one.params["seed"].removesuffix(".0") for one in shown.values()) == ["1", "2", "3"]
    for key, one in shown.items():
        check(one, Path("runs/s", key))


def test_failed_run_is_shown_as_failed_and_goes_on_when_it_is_tried_again(cli: CommandLine, tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "import torch, pathlib\n"
        "class MultiTaskLoss(torch.nn.Module):\n"
        "    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):\n"
        "        if epoch == 2 and not pathlib.Path('mended').exists():\n"
        "            raise ArithmeticError('no')\n"
        "        return fine_loss + coarse_loss\n"
    )
    options = ["loss=user/file", "loss.path=late.py", EVERY_EPOCH, *tracker.options]
    assert cli(*TINY, "study=s", *options).status == 1
    assert tracker.only().epochs == [1, 2]
    assert tracker.only().state in ("failed", None)
    Path("mended").touch()
    run = train(cli, *options)
    check(tracker.only(), run)


def test_diverged_run_is_an_outcome_and_shown(cli: CommandLine, tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "grows.py").write_text(
        "import torch\n"
        "class MultiTaskLoss(torch.nn.Module):\n"
        "    def forward(self, fine_loss, coarse_loss, epoch, total_epochs):\n"
        "        return fine_loss * (1 if epoch == 0 else float('nan'))\n"
    )
    run = train(cli, "loss=user/file", "loss.path=grows.py", *tracker.options)
    assert result(run)["status"] == "diverged"
    check(tracker.only(), run)
    assert tracker.only().state in ("diverged", None)


def test_study_that_no_sqlite_url_can_name_gets_no_mlflow_file_anywhere(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    ended = cli(*TINY, "schedule.epochs=1", "study=a?b", "logger=mlflow")
    assert ended.status == 0
    assert f"warning: MLflow: {tmp_path}/runs/a?b/mlflow.db: a SQLite database cannot be in a folder with ? or %" in ended.out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a?b"]


@pytest.mark.parametrize("call", ["start", "epoch", "finish"])
def test_tracker_that_fails_is_one_warning_and_the_run_goes_on(cli: CommandLine, call: str) -> None:
    Recorder.kept.clear()
    ended = cli(*TINY, "logger._target_=recorder.Recorder", f"+logger.fails={call}")
    assert ended.status == 0
    lines = [line for line in (ended.out + ended.err).splitlines() if "Recorder" in line]
    assert lines == [f"warning: Recorder: ConnectionError: no tracker in {call}: the run goes on without it"]
    run = only_run(Path())
    assert len(metrics(run)) == 3
    assert lines[0] in (run / "run.log").read_text()
    assert result(run)["status"] == "completed"


def test_tracker_that_fails_does_not_hide_why_a_run_was_interrupted(cli: CommandLine) -> None:
    interrupted(cli, "logger._target_=recorder.Recorder", "+logger.fails=leave", after=STEPS + 1)
    assert json.loads((only_run(Path()) / "status.json").read_text())["state"] == "interrupted"


def test_database_that_cannot_be_written_is_one_warning(cli: CommandLine) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    ended = cli(*TINY, "logger=mlflow", "logger.file=/dev/null/none.db")
    assert ended.status == 0
    assert ended.out.count("warning: MLflow: ") == 1
    assert result(only_run(Path()))["status"] == "completed"


def test_runs_of_several_studies_can_share_a_database(cli: CommandLine, empty_database: Path, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    shutil.copy(empty_database, tmp_path / "all of them.db")
    for study in ("a", "b"):
        train(cli, "logger=mlflow", "logger.file=all of them.db", study=study)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'all of them.db'}")
    experiments = {one.name: one.experiment_id for one in client.search_experiments()}
    assert [len(client.search_runs([experiments[study]])) for study in ("a", "b")] == [1, 1]
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "all of them.db"}  # nothing of MLflow's own beside


def begin(study: Path, number: int) -> int:
    from mtlsweep.loggers.mlflow import MLflow

    logger = MLflow()
    held = logger.start(Entry(study, f"run{number}", "a run", {"seed": number}, {}))
    logger.epoch({"epoch": 1, "test_fine_acc": float(number)})
    return held


@pytest.mark.processes
def test_processes_that_begin_at_once_make_one_database(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(begin, [tmp_path] * 3, range(3))) == [0, 0, 0]
    assert sorted(shown.accuracies for shown in of_mlflow(tmp_path).values()) == [[0.0], [1.0], [2.0]]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_database_that_another_process_has_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mtlsweep.loggers.mlflow import _create

    (tmp_path / "mlflow.db").write_text("the other's")
    _create(tmp_path / "mlflow.db")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the other's"]


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"], ["-m", "hydra/launcher=slurm"]], ids=["run", "sweep", "slurm"])
@pytest.mark.parametrize(("option", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("mlflow", "sqlalchemy")])
def test_package_that_is_not_installed_is_one_line_before_anything_trains(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, package: str, sweep: Sequence[str]
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, *of: Any) -> ModuleSpec | None:
        if name == package:
            return None
        return find_spec(name, *of) or ModuleSpec(name, None, origin="installed")

    monkeypatch.setattr(importlib.util, "find_spec", without)
    ended = cli(*sweep, *TINY, f"logger={option}")
    assert (ended.status, ended.err) == (2, f"error: logger={option} needs {package}: .venv/bin/pip install -e '.[{option}]'\n")
    assert not list(tmp_path.glob("**/run.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logger=nope"], "logger=nope: no such option (none?); choose from mlflow, none, tensorboard"),
        (["logger=mlflow", "logger.url=x"], "logger.url: no such key; mtlsweep.loggers.mlflow.MLflow has file"),
        (["logger._target_=nothing.here"], "logger._target_=nothing.here: cannot be imported"),
    ],
)
def test_mistake_is_one_line(cli: CommandLine, arguments: list[str], message: str) -> None:
    ended = cli(*TINY, *arguments)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1


def test_every_option_composes(cli: CommandLine) -> None:
    register()
    for option in sorted(path.stem for path in (ROOT / "conf" / "logger").glob("*.yaml")):
        pytest.importorskip({"none": "torch"}.get(option, option))
        assert "nothing trained: 1 run" in cli(*TINY, f"logger={option}", "dry_run=true").out
