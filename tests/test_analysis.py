"""The table says what the run directories say: every number, every gap, and nothing averaged that differs in more than the seed."""

import csv
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from studies import complete, fail, interrupt, make_cell, prepare

from analysis.__main__ import main
from analysis.collect import collect, write_csv
from analysis.names import natural, unique
from analysis.report import report
from analysis.row import COLUMNS
from analysis.table import Entry, Table, tables, titles
from mtlsweep.errors import UserError
from mtlsweep.protocol.rules import SETTING
from mtlsweep.runs import Cell, Claim, SweepRecord
from mtlsweep.runs.signature import dotted

MODELS = ("resnet20", "resnet56", "vgg16bn")
LOSSES = ("haw", "fine_only", "uncertainty", "equal")
SEEDS = (42, 123, 456)

# What completed runs of the fixture reached: (model, label, data, seed) -> (best, last), percent.
Reached = dict[tuple[str, str, str, int], tuple[float, float]]


def accuracy(*parts: object) -> tuple[float, float]:
    """Some best and last accuracy, the same for the same parts."""
    random = Random(repr(parts))
    best = round(random.uniform(30, 50), 2)
    return best, round(best - random.uniform(0, 2), 2)


class Built:
    """A study with everything in it that a table must cope with."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.reached: Reached = {}
        for model in MODELS:
            for loss in LOSSES:
                for seed in SEEDS:
                    self._outcome(model, loss, seed)
            for seed in SEEDS:
                self._complete("haw[beta=3]", make_cell(study, model, "haw", seed, loss__beta=3.0))
        for seed in SEEDS:
            fade = {"curriculum__option": "linear", "curriculum___target_": "mtlsweep.curriculum.Polynomial"}
            cell = make_cell(study, "resnet20", "equal", seed, **fade)
            self._complete("equal[curriculum=linear]", replace(cell, variant={}))
            self._complete("equal", make_cell(study, "resnet20", "equal", seed, data__train_size=500), "500")
        self._break()

    def _outcome(self, model: str, loss: str, seed: int) -> None:
        """Most cells complete; of ResNet-56 some do not."""
        cell = make_cell(self.study, model, loss, seed)
        match model, loss, seed:
            case "resnet56", "equal", 42:
                fail(cell, "CUDA out of memory\ntried to allocate")
            case "resnet56", "uncertainty", _:
                complete(cell, 3.0, None, status="diverged", reason="fine loss is nan in epoch 2")
            case "resnet56", "fine_only", 123:
                interrupt(cell)
            case "resnet56", "fine_only", 456:
                SweepRecord.write(self.study / ".sweeps" / "1", [cell, make_cell(self.study, model, loss, 42)])
            case _:
                self._complete(loss, cell)

    def _complete(self, label: str, cell: Cell, data: str = "1000") -> None:
        model, seed = cell.options["model"], cell.settings["seed"]
        self.reached[model, label, data, seed] = best, last = accuracy(model, label, data, seed)
        complete(cell, best, last)

    def _break(self) -> None:
        """Directories that cannot be read."""
        for number, content in enumerate(["{ half", json.dumps({"schema": 99}), json.dumps({"schema": 1})]):
            (self.study / "broken" / "by" / "hand" / str(number)).mkdir(parents=True)
            (self.study / "broken" / "by" / "hand" / str(number) / "run.json").write_text(content)

    def bests(self, model: str, label: str, data: str = "1000", measure: int = 0) -> list[float]:
        return [value[measure] for (*key, _), value in self.reached.items() if key == [model, label, data]]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture
def built(pristine: Built, tmp_path: Path) -> Built:
    """A copy of the study of one's own, in the folder that commands are given in."""
    study = tmp_path / "runs" / "demo"
    shutil.copytree(pristine.study, study)
    copy = object.__new__(Built)
    copy.study, copy.reached = study, pristine.reached
    return copy


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def entry(table: Table, row: str, column: str) -> Entry:
    return table.rows[row][table.columns.index(column)]


def of_size(found: Iterable[Table], size: int) -> Table:
    return next(table for table in found if f"train_size={size}" in table.title)


def at(row: str, column: str, size: int = 1000) -> Callable[[Path], Entry]:
    return lambda study: entry(of_size(tables(collect([study])), size), row, column)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------------------- collect


def test_a_row_for_every_run_and_every_pending_cell(built: Built) -> None:
    frame = collect([built.study])
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    # Seed 42 of fine_only is in the sweep's list too, and is not counted twice.
    counts = {"diverged": 3, "failed": 1, "interrupted": 1, "pending": 1, "completed": len(built.reached)}
    assert frame["status"].value_counts().to_dict() == counts


def test_a_row_says_what_the_result_says(tmp_path: Path) -> None:
    cell = make_cell(tmp_path / "demo", "vgg16bn", "haw", 7, loss__beta=3.0, model__dropout=0.5)
    path = complete(cell, 61.25, 60.5, dirty=True, conflict_rate=0.25)
    row = collect([tmp_path / "demo"]).iloc[0]
    expected = {
        "study": "demo", "model": "vgg16bn", "loss": "haw", "variant": "haw[beta=3]", "model_variant": "vgg16bn[dropout=0.5]",
        "curriculum": "none", "schedule": "smoke", "data": "synthetic", "engine": "auto", "seed": 7, "status": "completed",
        "best_fine_acc": 61.25, "last_fine_acc": 60.5, "best_epoch": 2, "epochs": 3, "seconds": 12.5, "conflict_rate": 0.25,
        "device": "cpu", "precision": "fp32", "commit": "a" * 40, "dirty": True, "signature": cell.signature,
        "path": path.relative_to(tmp_path / "demo").as_posix(), "loss.beta": 3.0, "schedule.epochs": 3,
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected
    assert row[["error", "cosine", "selected_epoch"]].isna().all()


def test_directories_that_cannot_be_read_are_named_and_left_out(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    frame = collect([built.study])
    lines = capsys.readouterr().err.splitlines()
    assert not frame["path"].str.startswith("broken").any()
    assert [line.count(str(built.study / "broken")) for line in lines] == [1, 1, 1]
    assert "damaged" in lines[0]
    assert "schema 99" in lines[1]
    assert "options" in lines[2]


@pytest.mark.parametrize(
    "change", [{"best_fine_acc": "high"}, {"best_fine_acc": None}, {"best_fine_acc": float("nan")}, {"best_epoch": 1.5}, {"signature": "0"}]
)
def test_a_result_that_makes_no_sense_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]) -> None:
    path = complete(make_cell(tmp_path / "demo"), 50.0, 49.0)
    result = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps(result | change))
    assert collect([tmp_path / "demo"]).empty
    assert str(path) in capsys.readouterr().err


def test_results_csv_reads_back_as_the_frame(built: Built, tmp_path: Path) -> None:
    frame = collect([built.study])
    write_csv(frame, tmp_path / "results.csv")
    back = pd.read_csv(tmp_path / "results.csv")
    assert list(back.columns) == list(frame.columns)
    assert back["best_fine_acc"].tolist() == pytest.approx(frame["best_fine_acc"].tolist(), nan_ok=True)
    assert back["signature"].tolist() == frame["signature"].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "results.csv"}  # nothing is left beside it


# ----------------------------------------------------------------------------------------------------------------- the table


def test_every_number_is_the_mean_and_the_sample_standard_deviation(built: Built) -> None:
    for table in tables(collect([built.study])):
        data = "500" if "train_size=500" in table.title else "1000"
        for row, entries in table.rows.items():
            for model, found in zip(table.columns, entries, strict=True):
                for measure, name in enumerate(("best", "last")):
                    values = built.bests(model, row, data, measure)
                    assert found.n == len(values)
                    if values:
                        assert found.values[name].mean == pytest.approx(statistics.mean(values))
                    if len(values) > 1:
                        assert found.values[name].sd == pytest.approx(statistics.stdev(values))
                    elif values:
                        assert found.values[name].sd is None


def test_rows_and_columns_are_in_the_order_a_reader_looks_for_them(built: Built) -> None:
    table = of_size(tables(collect([built.study])), 1000)
    assert table.columns == ["resnet20", "resnet56", "vgg16bn"]
    assert list(table.rows) == ["fine_only", "equal", "equal[curriculum=linear]", "haw", "haw[beta=3]", "uncertainty"]
    assert sorted(["haw[beta=10]", "haw[beta=2]", "haw"], key=natural) == ["haw", "haw[beta=2]", "haw[beta=10]"]
    assert sorted(["-0.4", "1", "-1.0", "0.5"], key=natural) == ["-1.0", "-0.4", "0.5", "1"]
    assert sorted(["b-2", "b-10", "a-1"], key=natural) == ["a-1", "b-2", "b-10"]


def test_another_data_setting_is_another_table(built: Built) -> None:
    small, large = tables(collect([built.study]))
    assert (list(small.rows), small.columns) == (["equal"], ["resnet20"])
    recipe = "schedule.batch_size=32, schedule.lr=0.05"
    assert small.title == f"synthetic, smoke[schedule.epochs=3, data.train_size=500, {recipe}]"
    assert large.title == f"synthetic, smoke[schedule.epochs=3, data.train_size=1000, {recipe}]"


@pytest.mark.parametrize(
    ("changed", "title"),
    [({}, "cifar100, full[schedule.epochs=200]"), ({"lr": 0.05}, "cifar100, full[schedule.epochs=200, schedule.lr=0.05]")],
)
def test_a_title_names_what_of_the_recipe_is_not_the_benchmarks(changed: dict[str, float], title: str) -> None:
    recipe = dotted({"schedule": SETTING["schedule"] | changed})
    frame = pd.DataFrame([{"setting": "one", "data": "cifar100", "schedule": "full", **recipe}])
    assert titles(frame) == {"one": title}


@pytest.mark.parametrize(
    ("row", "column", "absent"),
    [
        ("equal", "resnet56", {"failed": 1}),
        ("uncertainty", "resnet56", {"diverged": 3}),
        ("fine_only", "resnet56", {"interrupted": 1, "pending": 1}),
        ("equal[curriculum=linear]", "vgg16bn", {}),
    ],
)
def test_what_is_absent_is_known_and_never_complete(built: Built, row: str, column: str, absent: dict[str, int]) -> None:
    found = at(row, column)(built.study)
    assert found.absent == absent
    assert not found.complete


def test_a_run_in_progress_is_absent_as_running(tmp_path: Path) -> None:
    complete(make_cell(tmp_path / "demo"), 50.0, 49.0)
    with Claim(prepare(make_cell(tmp_path / "demo", seed=1))):
        assert at("equal", "resnet20")(tmp_path / "demo").absent == {"running": 1}


def test_the_best_complete_entry_of_each_column_is_marked(built: Built) -> None:
    table = of_size(tables(collect([built.study])), 1000)
    for model in table.columns:
        entries = {row: entry(table, row, model) for row in table.rows}
        means = {row: statistics.mean(built.bests(model, row)) for row, found in entries.items() if len(built.bests(model, row)) == 3}
        assert [row for row, found in entries.items() if found.best] == [max(means, key=lambda row: means[row])]


def test_an_incomplete_entry_is_not_the_best_however_high(tmp_path: Path) -> None:
    study = tmp_path / "demo"
    for seed in (1, 2):
        complete(make_cell(study, loss="equal", seed=seed), 50.0 + seed, 49.0)
        complete(make_cell(study, loss="dwa", seed=seed), 40.0 + seed, 39.0)
        complete(make_cell(study, loss="haw", seed=seed), 90.0, 89.0)
    fail(make_cell(study, loss="haw", seed=3), "no")
    (table,) = tables(collect([study]))
    assert {row: entries[0].best for row, entries in table.rows.items()} == {"equal": True, "dwa": False, "haw": False}


def test_equal_means_are_both_the_best_and_a_lone_entry_is_not(tmp_path: Path) -> None:
    complete(make_cell(tmp_path / "demo", loss="equal"), 50.0, 49.0)
    assert not at("equal", "resnet20")(tmp_path / "demo").best
    complete(make_cell(tmp_path / "demo", loss="dwa"), 50.0, 49.0)
    assert at("equal", "resnet20")(tmp_path / "demo").best
    assert at("dwa", "resnet20")(tmp_path / "demo").best


def test_strategies_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    """The option's file was edited between the runs, so that neither is a variant of it."""
    for seed, beta in ((1, 2.0), (2, 3.0)):
        complete(replace(make_cell(tmp_path / "demo", loss="haw", seed=seed, loss__beta=beta), variant={}), 50.0, 49.0)
    (table,) = tables(collect([tmp_path / "demo"]))
    assert list(table.rows) == ["haw[beta=2]", "haw[beta=3]"]
    assert [entries[0].n for entries in table.rows.values()] == [1, 1]


def test_an_edited_user_file_is_another_row(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / "my_loss.py").write_text(f"# version {seed}")
        changes = {"loss__option": "user/file", "loss__path": str(tmp_path / "my_loss.py")}
        cell = replace(make_cell(tmp_path / "demo", seed=seed, **changes), variant={"loss.path": "my_loss.py"})
        complete(cell, 50.0, 49.0)
    (table,) = tables(collect([tmp_path / "demo"]))
    assert len(table.rows) == 2
    assert all(re.fullmatch(r"user/file\[path=my_loss\.py, source=[0-9a-f]{6}\]", row) for row in table.rows)


def test_architectures_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for seed, width in ((1, 16), (2, 32)):
        complete(replace(make_cell(tmp_path / "demo", seed=seed, model__width=width), variant={}), 50.0, 49.0)
    (table,) = tables(collect([tmp_path / "demo"]))
    assert table.columns == ["resnet20[width=16]", "resnet20[width=32]"]


def test_labels_become_unique_even_where_nothing_that_is_written_differs() -> None:
    labels = unique({"a": "haw", "b": "haw", "c": "haw[beta=3]"}, {"a": {"x.beta": 3, "x.k": 1}, "b": {"x.beta": 3, "x.k": 1}, "c": {}})
    assert len(set(labels.values())) == 3
    labels = unique({"a": "haw", "b": "haw", "c": "haw[beta=3]"}, {"a": {"loss.beta": 3}, "b": {"loss.beta": 2}, "c": {"loss.beta": 4}})
    assert len(set(labels.values())) == 3


def test_one_run_in_two_studies_counts_once_and_the_completed_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(make_cell(tmp_path / "b", seed=1), 50.0, 49.0)
    complete(make_cell(tmp_path / "b", seed=2), 60.0, 59.0)
    fail(make_cell(tmp_path / "a", seed=1), "no")
    (table,) = tables(collect([tmp_path / "a", tmp_path / "b"]))
    found = entry(table, "equal", "resnet20")
    assert (found.n, found.values["best"].mean, found.absent) == (2, 55.0, {})
    text = printed(capsys, tmp_path / "a", tmp_path / "b")
    assert "1 run found more than once" in text
    assert f"results: {tmp_path / 'a' / 'results.csv'}\nresults: {tmp_path / 'b' / 'results.csv'}\n" in text


def test_validation_runs_show_the_selected_accuracy_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(
        make_cell(tmp_path / "demo", data__validation=100), 50.0, 49.0, selected_epoch=1, selected_val_acc=51.0, selected_fine_acc=48.25
    )
    text = printed(capsys, tmp_path / "demo")
    assert "48.25" in text
    assert "selected: at the epoch of highest validation accuracy" in " ".join(text.split())
    assert "data.validation=100" in text


# ----------------------------------------------------------------------------------------------------------------- what is printed


def mean_sd(values: list[float], sign: str = "±") -> str:
    return f"{statistics.mean(values):.2f} {sign} {statistics.stdev(values):.2f}"


@pytest.mark.parametrize("width", [80, 100, 120])
def test_text_fits_the_page_and_shows_every_entry(
    built: Built, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, built.study)
    grid = text.partition("best: ")[0]
    assert max(map(len, grid.splitlines())) <= width
    assert "\x1b" not in text
    for model, row, data, _ in built.reached:
        values = built.bests(model, row, data)
        assert (f"{mean_sd(values)} n={len(values)}" if len(values) > 1 else f"{values[0]:.2f}") in grid
        assert f"{statistics.mean(built.bests(model, row, data, 1)):.2f}" in grid
    for words in ("+1 failed", "3 diverged", "+1 interrupted", "+1 pending", "missing"):
        assert words in grid
    assert grid.count("*") == 3


def test_text_of_many_architectures_is_cut_into_tables_that_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for width in range(12):
        for seed in (1, 2):
            complete(make_cell(tmp_path / "demo", seed=seed, model__width=width), 50.0 + width + seed, 49.0)
    grid = printed(capsys, tmp_path / "demo").partition("best: ")[0]
    assert max(map(len, grid.splitlines())) <= 80
    assert all(f"{51.5 + width:.2f} ± 0.71 n=2" in grid for width in range(12))


def test_the_notes_say_what_the_figures_mean(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, built.study).split())
    assert "highest fine test accuracy over the epochs, the benchmark's metric, optimistic" in text
    assert "± is the sample standard deviation over n seeds" in text
    assert re.search(r"failed: demo/resnet56/equal/smoke/seed42-\w{8}: RuntimeError: CUDA out of memory ", text)
    assert text.count("fine loss is nan in epoch 2") == 3
    assert "commits" not in text
    assert "uncommitted" not in text
    assert "engines" not in text


def test_a_run_that_was_found_with_two_results_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for study, better in (("a", 0.0), ("b", 1.0)):
        complete(make_cell(tmp_path / study, seed=1), 50.0, 49.0)
        complete(make_cell(tmp_path / study, seed=2), 60.0 + better, 59.0)
    text = printed(capsys, tmp_path / "a", tmp_path / "b")
    assert "2 runs found more than once (same signature) and counted once." in text
    assert "1 run of them found with different results: the first is counted" in text
    assert "55.00" in text
    assert "different results" not in printed(capsys, tmp_path / "a", tmp_path / "a")


def test_the_notes_name_what_runs_do_not_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(make_cell(tmp_path / "demo", "resnet20"), 50.0, 49.0)
    other: dict[str, Any] = {"dirty": True, "device": "gpu", "engine": {"precision": "bf16"}, "changed_midway": ["commit", "device"]}
    complete(make_cell(tmp_path / "demo", "resnet56"), 50.0, 49.0, commit="b" * 40, **other)
    text = " ".join(printed(capsys, tmp_path / "demo").split())
    assert "one seed each says nothing about the spread" in text
    assert "Runs of 2 commits: aaaaaaa (1 run), bbbbbbb (1 run)." in text
    assert "1 run made with uncommitted changes" in text
    assert "Runs on 2 different engines: cpu fp32 (1 run), gpu bf16 (1 run)." in text
    assert "1 run interrupted and continued with another commit, device: the last one's is named here." in text
    assert "±" not in text


def test_markdown(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, built.study, "--format", "markdown")
    _, _, text = text.partition("train_size=1000")
    text, _, _ = text.partition("**Difference")
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if line[:1] == "|"}
    assert lines["strategy"] == [f"{model} {measure}" for model in MODELS for measure in ("best", "last")]
    best = mean_sd(built.bests("resnet20", "haw"))
    assert lines["haw"][0] in (f"{best} n=3", f"**{best}** n=3")
    assert lines["haw"][1] == mean_sd(built.bests("resnet20", "haw", measure=1))
    assert lines["equal"][2] == f"{mean_sd(built.bests('resnet56', 'equal'))} n=2 +1 failed"
    assert lines["uncertainty"][2:4] == ["3 diverged", ""]
    assert sum(cell.startswith("**") for row in lines.values() for cell in row) == 3


def test_csv_is_all_there_is_on_standard_output(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(built.study), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    rows = {(row["strategy"], row["architecture"], "=500" in row["setting"]): row for row in csv.DictReader(io.StringIO(out))}
    assert len(rows) == 6 * 3 + 1
    for (strategy, model, small), row in rows.items():
        values = built.bests(model, strategy, "500" if small else "1000")
        assert int(row["n"]) == len(values)
        assert row["best_mean"] == (f"{statistics.mean(values):.7g}" if values else "")
        assert row["best_sd"] == (f"{statistics.stdev(values):.7g}" if len(values) > 1 else "")
    assert rows["uncertainty", "resnet56", False]["absent"] == "3 diverged"
    assert [row["marked"] for row in rows.values()].count("*") == 3
    assert f"results: {built.study / 'results.csv'}" in err


def test_latex_is_booktabs_with_names_escaped(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, built.study, "--format", "latex")
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(lines)
    line = next(line for line in lines if line.startswith(r"fine\_only &"))
    value = mean_sd(built.bests("resnet20", "fine_only"), r"$\pm$")
    assert f" & {value} & " in line.replace(r"\textbf{", "").replace("}", "")
    assert "n=3 where nothing else is said" in text
    assert sum(line.count(r"\textbf{") for line in lines) == 3
    assert r"(\%)" in text
    assert not any(re.search(r"(?<!\\)_", line) for line in lines)


def test_report_shows_only_the_runs_asked_for_and_records_all(
    built: Built, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built.study.parents[1])
    only = [built.study / path for path in ("resnet20/haw", "resnet20/equal")]
    report(Path("runs/demo"), [path for folder in only for path in folder.glob("smoke/seed*")])
    text = capsys.readouterr().out
    assert "resnet56" not in text
    assert "uncertainty" not in text
    assert "haw[beta=3]" in text
    assert text.endswith("results: runs/demo/results.csv\n")
    assert pd.read_csv(built.study / "results.csv")["model"].nunique() == 3


# ----------------------------------------------------------------------------------------------------------------- the command


def test_a_study_is_given_by_its_name_or_its_path(
    built: Built, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built.study.parents[1])
    assert printed(capsys, "demo").endswith("results: runs/demo/results.csv\n")
    assert printed(capsys, built.study).endswith(f"results: {built.study / 'results.csv'}\n")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_study_without_runs_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    assert main([name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert name in err
    assert not list(tmp_path.rglob("results.csv"))
    with pytest.raises(UserError):
        report(tmp_path / "runs" / "empty")


def test_a_study_that_cannot_be_written_still_has_its_table(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    (built.study / "results.csv").mkdir()
    assert main([str(built.study)]) == 0
    out, err = capsys.readouterr()
    assert "haw[beta=3]" in out
    assert "results:" not in out
    assert f"{built.study / 'results.csv'}: cannot be written" in err


def test_no_torch_is_needed(built: Built) -> None:
    program = "import sys, analysis.__main__ as a; a.main(sys.argv[1:]); assert 'torch' not in sys.modules, 'torch was imported'"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program, str(built.study)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "haw[beta=3]" in done.stdout
