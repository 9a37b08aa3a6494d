"""What enters the published results: finished runs that are what they say, and nothing of the machine's owner."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from omegaconf import OmegaConf
from studies import complete, fail, log_epochs, make_cell

from analysis.__main__ import main
from analysis.collect import collect
from analysis.publish import analysed, table
from mtlsweep.runs import Cell

RESULTS = ROOT / "results"


def finished(study: Path, loss: str = "equal", best: float = 52.5, cell: Cell | None = None, **changes: Any) -> Path:
    """A run directory as a run leaves it."""
    cell = cell or make_cell(study, loss=loss)
    follows: dict[str, Any] = {"coarse_acc_at_best": 50.0, "coarse_weight": 0.0, "seconds": 12.0, "device_seconds": 12.0}
    path = complete(cell, best, 51.0, **follows | changes)
    log_epochs(path, [30.0, best, 51.0])
    OmegaConf.save(OmegaConf.create(cell.settings), path / "config.yaml")
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "first"


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_finished_runs_enter_and_all_is_made_of_them(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(study)
    finished(study, "fine_only", best=53.0)
    fail(make_cell(study, loss="dwa"), "no matter")
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    out = capsys.readouterr().out
    assert "2 new runs, 2 in all" in out
    assert f"left out of {study}, having no result: 1 failed" in out
    rows = pd.read_csv(tmp_path / "results" / "results.csv")
    assert (set(rows["best_fine_acc"]), set(rows["study"])) == ({52.5, 53.0}, {"first"})
    assert "-0.50" in (tmp_path / "results" / "table.md").read_text()
    assert "<h1>published results" in (tmp_path / "results" / "report.html").read_text()
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    assert "0 new runs, 2 in all" in capsys.readouterr().out


def test_nothing_tells_whose_machine_it_was(study: Path, tmp_path: Path) -> None:
    path = finished(study)
    run = json.loads((path / "run.json").read_text())
    places = [f"{key}={tmp_path}" for key in ("data.root", "++data.root", "runs_dir", "+loss.path", "logger.file", "+logger.uri")]
    edit(path / "run.json", overrides=[*run["overrides"], *places])
    settings = OmegaConf.load(path / "config.yaml")
    OmegaConf.save(OmegaConf.merge(settings, {"logger": {"file": str(tmp_path / "mlflow.db")}}), path / "config.yaml")
    host = json.loads((path / "attempts" / "1.json").read_text())["owner"]["host"]
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    kept = [file for file in (tmp_path / "results" / "runs").rglob("*.*") if file.is_file() and file.suffix in (".json", ".yaml", ".csv")]
    assert {file.name for file in kept} >= {"run.json", "result.json", "metrics.csv", "config.yaml", "1.json"}
    text = "".join(file.read_text() for file in kept)
    assert str(tmp_path) not in text
    assert f'"{host}"' not in text
    assert "commit" in json.loads((next((tmp_path / "results").rglob("attempts/1.json"))).read_text())["provenance"]


def test_a_file_where_the_folder_would_be_is_one_line(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(study)
    (tmp_path / "results").write_text("")
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 2
    assert re.fullmatch(r"analysis: .*/results/runs.*: Not a directory\n", capsys.readouterr().err)


def test_a_strategys_file_is_kept_byte_for_byte(study: Path, tmp_path: Path) -> None:
    """Its digest is in the signature: another end of lines would be another strategy."""
    content = b"class MultiTaskLoss:\r\n    pass\r\n"
    (tmp_path / "my_loss.py").write_bytes(content)
    cell = make_cell(study, "resnet20", "user/file", loss__path=str(tmp_path / "my_loss.py"))
    path = finished(study, cell=cell)
    (path / "my_loss.py").write_bytes(content)
    for _ in range(2):
        assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    (copy,) = (tmp_path / "results" / "runs").rglob("my_loss.py")
    assert copy.read_bytes() == content


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "identity": ("run.json", {"identity": {"seed": 42, "loss": {}, "schedule": {"epochs": 3}}}, "that of its settings"),
    "seed": ("run.json", {"seed": 43}, "its seed is 43"),
    "result": ("result.json", {"signature": "0" * 64}, "another run's"),
    "accuracy": ("result.json", {"best_fine_acc": 99.0}, "its result's best_fine_acc are not those of its metrics.csv"),
    "held out": (
        "result.json",
        {"selected_fine_acc": 60.0, "selected_val_acc": 60.0},
        "result's selected_val_acc, selected_fine_acc are not",
    ),
    "coarse": ("result.json", {"last_coarse_acc": 99.0}, "its result's last_coarse_acc are not those"),
    "hours": ("result.json", {"device_seconds": 1.0}, "its result's device_seconds are not those"),
    "epochs": ("result.json", {"epochs": 2}, "has not the epochs 1 to 2"),
    "dirty": ("result.json", {"dirty": True}, "in no commit"),
    "no commit": ("result.json", {"commit": None}, "in no commit"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", ["study", "archive"])
def test_what_is_not_what_it_says_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, place: str
) -> None:
    path, results = finished(study), tmp_path / "results"
    if place == "archive":
        assert main(["publish", str(results), str(study)]) == 0
        path = results / "runs" / path.relative_to(study)
    name, values, message = FAULTS[fault]
    edit(path / name, **values)
    assert main(["publish", str(results), *([str(study)] if place == "study" else [])]) == 2
    assert message in capsys.readouterr().err
    assert place == "archive" or not results.exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "metrics.csv").unlink(), "metrics.csv cannot be read"),
        (lambda path: log_epochs(path, [30.0, 52.5]), "has not the epochs 1 to 3"),
        (lambda path: (path / "metrics.csv").write_text("epoch\n1\n2\n3\n"), "metrics.csv cannot be read"),
        (lambda path: path.rename(path.with_name("seed42-00000000")), "should be named"),
    ],
)
def test_what_is_not_whole_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, message: str) -> None:
    damage(finished(study))
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 2
    assert message in capsys.readouterr().err


def test_run_that_was_cut_short_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_epochs(finished(study, epochs=2), [30.0, 52.5])
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 2
    assert "2 of 3 epochs" in capsys.readouterr().err


def test_row_without_a_run_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(study)
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    typed = tmp_path / "results" / "runs" / "resnet20" / "mine" / "smoke" / "seed1-aaaaaaaa"
    typed.mkdir(parents=True)
    (typed / "result.json").write_text("{}")
    assert main(["publish", str(tmp_path / "results")]) == 2
    assert "has a result and no run.json" in capsys.readouterr().err


def test_other_result_of_the_same_run_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished(study)
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 0
    edit(path / "result.json", seconds=1.0)
    assert main(["publish", str(tmp_path / "results"), str(study)]) == 2
    assert "holds another result" in capsys.readouterr().err


def test_archive_cut_short_is_made_whole(study: Path, tmp_path: Path) -> None:
    path, results = finished(study), tmp_path / "results"
    assert main(["publish", str(results), str(study)]) == 0
    copy = results / "runs" / path.relative_to(study)
    (copy / "result.json").unlink()
    assert main(["publish", str(results)]) == 2
    assert main(["publish", str(results), str(study)]) == 0


def test_one_run_with_two_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [finished(tmp_path / name / "s", best=best) for name, best in (("a", 52.5), ("b", 58.5))]
    studies = [str(tmp_path / name / "s") for name in "ab"]
    assert paths[0].relative_to(studies[0]) == paths[1].relative_to(studies[1])
    assert main(["publish", str(tmp_path / "results"), *studies]) == 2
    assert f"{paths[1]}: is another result than {paths[0]}" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/**/result.json"))


@pytest.mark.parametrize("verb", [["collect"], ["publish", "results"]])
def test_table_without_its_runs_is_refused(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.csv").write_text("study\n")
    assert main([*verb, str(tmp_path / "results.csv")]) == 2
    assert "results.csv: is a table, and its runs are wanted" in capsys.readouterr().err


@pytest.mark.skipif(not RESULTS.exists(), reason="no results/ here")
def test_what_this_project_publishes_is_what_its_runs_say(tmp_path: Path) -> None:
    from analysis.archive import check

    check(RESULTS / "runs")
    frame = collect([RESULTS / "runs"])
    shown = table(frame, analysed(frame))
    assert (RESULTS / "table.md").read_text() == shown
    listed = pd.read_csv(RESULTS / "results.csv", dtype={"seed": int})
    assert sorted(listed["signature"]) == sorted(frame["signature"])
    pd.testing.assert_series_equal(listed["best_fine_acc"], frame["best_fine_acc"], rtol=1e-6)
    page = (RESULTS / "report.html").read_text()
    assert f"{len(frame)} runs" in page
    assert set(re.findall(r"\d+\.\d\d\b", shown)) <= set(re.findall(r"\d+\.\d\d\b", page))
    for file in RESULTS.rglob("*"):
        assert file.suffix == ".html" or file.is_dir() or not re.search(r"(^|[\s\"'=])/(home|root|tmp|work|Users)/", file.read_text()), file
