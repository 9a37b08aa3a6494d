"""Collecting a study: what cannot be read is named, what is finished is not read again, and nothing stale is ever shown."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from studies import Grid, complete, fail, make_cell, prepare

from analysis.collect import collect
from mtlsweep.runs import RunDirectory


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("runs") / "grid")


@pytest.fixture
def study(pristine: Grid, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine.study, tmp_path / "grid"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The run directories that were read, as they are."""
    found: list[Path] = []
    describe = RunDirectory.describe

    def noted(directory: RunDirectory) -> dict[str, object]:
        found.append(directory.path)
        return describe(directory)

    monkeypatch.setattr(RunDirectory, "describe", noted)
    return found


def test_every_run_and_every_missing_cell_has_a_row(pristine: Grid, study: Path) -> None:
    frame = collect([study])
    counts = {"completed": len(pristine.best) + 3, "diverged": 3, "failed": 1, "interrupted": 1, "pending": 1}
    assert frame["status"].value_counts().to_dict() == counts
    main = frame[(frame["status"] == "completed") & (frame["schedule"] == "smoke")]
    keys = list(zip(main["model"], main["variant"], main["seed"], strict=True))
    assert set(keys) == set(pristine.best)
    for column, reached in (("best_fine_acc", pristine.best), ("last_fine_acc", pristine.last), ("device_hours", pristine.hours)):
        assert main[column].tolist() == pytest.approx([reached[key] for key in keys])


def test_what_cannot_be_read_is_named_once_with_its_path(pristine: Grid, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # also when all that can be is in the cache
        collect([study])
        lines = capsys.readouterr().err.splitlines()
        broken = [str(study / path.relative_to(pristine.study)) for path in pristine.broken]
        assert len(lines) == len(broken)
        assert all(sum(path in line for line in lines) == 1 for path in broken)


def test_a_damaged_result_is_named_and_the_run_not_finished(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(study.glob("resnet20/haw/smoke/*/result.json"))
    path.write_text("{ half")
    frame = collect([study])
    assert f"{path}: damaged" in capsys.readouterr().err
    # Its owner, this process, is alive.
    assert frame.set_index("path").loc[path.parent.relative_to(study).as_posix(), "status"] == "running"


def test_a_row_says_how_to_make_the_run_again_and_with_what_it_was_made(tmp_path: Path) -> None:
    cell = make_cell(tmp_path / "demo")
    complete(cell, 50.0, 49.0, seconds=1800.0, engine={"device": "cuda", "precision": "bf16", "channels_last": True})
    run = json.loads((cell.directory / "run.json").read_text())
    (cell.directory / "run.json").write_text(json.dumps(run | {"overrides": ["model=resnet20", "loss.names=[a, b]"]}))
    row = collect([tmp_path / "demo"]).iloc[0]
    assert row["command"] == "python run.py model=resnet20 'loss.names=[a, b]'"
    assert (row["device_hours"], row["resolved_engine"]) == (0.5, "device=cuda, precision=bf16, channels_last=True")


def test_finished_runs_are_read_once(study: Path, reads: list[Path]) -> None:
    first = collect([study])
    reads.clear()
    pd.testing.assert_frame_equal(collect([study]), first)
    unfinished = set(first["path"][first["status"].isin(["failed", "interrupted"])])
    assert {path.relative_to(study).as_posix() for path in reads if "broken" not in path.parts} == unfinished


def test_a_run_that_is_done_again_has_its_new_row(study: Path, reads: list[Path]) -> None:
    first = collect([study]).set_index("path")
    path = first.index[first["status"] == "completed"][0]
    result = json.loads((study / path / "result.json").read_text())
    (study / path / "result.json").write_text(json.dumps(result | {"best_fine_acc": 99.125}))
    reads.clear()
    again = collect([study]).set_index("path")
    assert again.loc[path, "best_fine_acc"] == 99.125
    assert study / path in reads
    shutil.rmtree(study / path)
    assert path not in set(collect([study])["path"])


@pytest.mark.parametrize("record", [None, "{", "{}", '{"provenance": null}', '{"provenance": {"versions": null}}'])
def test_a_finished_run_has_its_row_whatever_is_left_of_its_attempts(tmp_path: Path, record: str | None) -> None:
    attempt = complete(make_cell(tmp_path / "demo"), 50.0, 49.0) / "attempts" / "1.json"
    assert collect([tmp_path / "demo"])["torch"].notna().all()
    shutil.rmtree(tmp_path / "demo" / ".analysis")
    attempt.unlink()
    if record:
        attempt.write_text(record)
    (found,) = collect([tmp_path / "demo"]).to_dict("records")
    assert (found["best_fine_acc"], found["status"]) == (50.0, "completed")
    assert pd.isna(found["torch"])


def test_a_run_whose_result_is_put_aside_is_not_shown_as_finished(tmp_path: Path) -> None:
    cell = make_cell(tmp_path / "demo")
    complete(cell, 50.0, 49.0)
    assert collect([tmp_path / "demo"])["status"].tolist() == ["completed"]
    RunDirectory(cell.directory).put_aside()
    assert collect([tmp_path / "demo"])["status"].tolist() != ["completed"]


@pytest.mark.parametrize("content", ["{ half", "[]", '{"version": "another", "rows": {"a": 1}}'])
def test_a_cache_that_is_damaged_or_of_other_code_is_made_anew(study: Path, content: str) -> None:
    first = collect([study])
    (study / ".analysis" / "rows.json").write_text(content)
    pd.testing.assert_frame_equal(collect([study]), first)
    pd.testing.assert_frame_equal(collect([study]), first)


def test_a_copied_study_goes_by_its_new_name(study: Path) -> None:
    collect([study])
    shutil.copytree(study, study.with_name("copy"))
    assert set(collect([study.with_name("copy")])["study"]) == {"copy"}


def test_a_study_that_cannot_be_written_is_collected_without_a_cache(study: Path) -> None:
    whole = collect([study])
    shutil.rmtree(study / ".analysis")
    (study / ".analysis").write_text("a file where the folder would be")
    for _ in range(2):
        pd.testing.assert_frame_equal(collect([study]), whole)


def test_a_run_of_another_version_of_the_schema_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(make_cell(tmp_path / "demo", seed=1), 50.0, 49.0)
    directory = prepare(make_cell(tmp_path / "demo", seed=2))
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(run | {"schema": 99}))
    fail(make_cell(tmp_path / "demo", seed=3), "no")
    assert collect([tmp_path / "demo"])["seed"].tolist() == [1, 3]
    assert "schema 99" in capsys.readouterr().err


@pytest.mark.parametrize(("own", "hours"), [(900.0, 0.25), (None, 1.0)])
def test_device_hours_are_of_a_runs_own_turns_where_they_were_recorded(tmp_path: Path, own: float | None, hours: float) -> None:
    complete(make_cell(tmp_path / "demo"), 50.0, 49.0, seconds=3600.0, device_seconds=own)
    assert collect([tmp_path / "demo"])["device_hours"].tolist() == [hours]


def test_a_result_from_before_own_turns_were_recorded_counts_in_full(tmp_path: Path) -> None:
    path = complete(make_cell(tmp_path / "demo"), 50.0, 49.0, seconds=3600.0) / "result.json"
    result = json.loads(path.read_text())
    del result["device_seconds"]
    path.write_text(json.dumps(result))
    assert collect([tmp_path / "demo"])["device_hours"].tolist() == [1.0]
