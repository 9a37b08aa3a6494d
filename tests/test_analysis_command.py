"""The command line of the analysis: how strategies and points are named, where pages and plots go, a reader that leaves, and Ctrl-C."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import ROOT
from studies import complete, log_epochs, make_cell

from analysis.__main__ import main
from mtlsweep.pipe import exit_with


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results CSV from elsewhere."""
    rows = [f"r,{loss},{seed},{50 + seed}" for loss in ("fine_only", "user/file[x=1, y=[2, 3]]", "haw") for seed in (1, 2, 3)]
    quoted = [row.replace("user/file[x=1, y=[2, 3]]", '"user/file[x=1, y=[2, 3]]"') for row in rows]
    (tmp_path / "results.csv").write_text("\n".join(["model,loss,seed,best_fine_acc", *quoted]) + "\n")
    return tmp_path / "results.csv"


def test_commas_in_brackets_within_brackets_are_part_of_a_name(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--strategies", "user/file[x=1, y=[2, 3]], haw"]) == 0
    assert main([str(results), "--strategies", "user/file[x=1, y=[2, 3]],nobody"]) == 2
    assert "analysis: nobody: no such strategy" in capsys.readouterr().err


@pytest.mark.parametrize("points", ["abc", "0", "100", "nan"])
def test_points_that_are_none_are_refused_with_what_they_must_be(results: Path, capsys: pytest.CaptureFixture[str], points: str) -> None:
    with pytest.raises(SystemExit):
        main([str(results), "--resolve", points])
    assert f"{points}: must be a number above 0 and below 100, in percentage points" in capsys.readouterr().err


def test_a_report_of_a_csv_leaves_that_of_its_folder_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.parent / "report.html").write_text("of the study")
    assert main(["report", str(results)]) == 0
    assert capsys.readouterr().out == f"report: {results.parent / 'results.report.html'}\n"
    assert (results.parent / "report.html").read_text() == "of the study"
    assert "user/file[x=1" in (results.parent / "results.report.html").read_text()


def test_plots_of_a_csv_leave_those_of_its_folder_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("seaborn")
    assert main(["plots", str(results)]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {path.parent for path in written} == {results.parent / "results.plots"}
    assert all(path.exists() for path in written)


@pytest.mark.processes
@pytest.mark.parametrize("output", ["text", "markdown"])
def test_a_reader_that_leaves_is_met_with_silence(results: Path, output: str) -> None:
    """As with `| head`."""
    reads, writes = os.pipe()
    os.close(reads)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "analysis", str(results), "--format", output]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, env=environment, cwd=results.parent)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_ends_a_command_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with(Mock(side_effect=KeyboardInterrupt))
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_a_place_that_is_no_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_epochs(complete(make_cell(tmp_path / "s"), 50.0, 49.0), [40.0, 50.0, 49.0])
    (tmp_path / "a_file").write_text("")
    for verb, name in (("plots", "plots"), ("report", "page.html")):
        assert main([verb, str(tmp_path / "s"), "-o", str(tmp_path / "a_file" / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("analysis: ")
        assert str(tmp_path / "a_file") in line


@pytest.mark.processes
def test_a_terminal_of_few_letters_is_no_failure(tmp_path: Path) -> None:
    for seed in (1, 2):
        complete(make_cell(tmp_path / "s", seed=seed), 50.0 + seed, 49.0)
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "analysis", str(tmp_path / "s")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="ascii", env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "51.50 ? 0.71 n=2" in ended.stdout
