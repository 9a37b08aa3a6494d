"""A results CSV from elsewhere: nothing is averaged that its columns tell apart, and a cell that makes no sense is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from studies import complete, fail, make_cell

from analysis.__main__ import main
from analysis.collect import collect, write_csv
from analysis.notes import notes
from analysis.report import gather
from analysis.results import read_results
from analysis.table import Table, tables

Write = Callable[..., Path]

COLUMNS = "model,loss,seed,best_fine_acc"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a CSV of these lines."""

    def written(*lines: str, name: str = "other.csv") -> Path:
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return written


def counts(table: Table) -> dict[str, int]:
    """Completed runs by strategy, of the first architecture."""
    return {name: entries[0].n for name, entries in table.rows.items()}


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command is refused with."""
    assert main([str(argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


# ----------------------------------------------------------------------------------------------------------------- what is not averaged


def test_a_curriculum_is_part_of_the_strategy_and_of_its_name(write: Write) -> None:
    rows = ["r,equal,1,50,none", "r,equal,2,51,", "r,equal,1,70,linear", "r,equal,2,71,linear"]
    (table,) = tables(read_results(write(f"{COLUMNS},curriculum", *rows)))
    assert counts(table) == {"equal": 2, "equal[curriculum=linear]": 2}


def test_a_curriculum_stands_beside_what_else_a_variant_names_and_is_named_once(write: Write) -> None:
    rows = ["r,haw,1,50,none,haw[beta=3]", "r,haw,1,51,linear,haw[beta=3]", "r,haw,2,52,linear,haw[curriculum=linear]"]
    (table,) = tables(read_results(write(f"{COLUMNS},curriculum,variant", *rows)))
    assert counts(table) == {"haw[beta=3]": 1, "haw[beta=3, curriculum=linear]": 1, "haw[curriculum=linear]": 1}


def test_runs_of_fewer_epochs_have_a_table_of_their_own(write: Write) -> None:
    rows = ["r,equal,1,50,8,", "r,equal,2,70,200,", "r,equal,3,71,200,completed"]
    found = tables(read_results(write(f"{COLUMNS},epochs,status", *rows)))
    assert [(table.title, counts(table)) for table in found] == [
        ("unknown data, unknown schedule[schedule.epochs=8]", {"equal": 1}),
        ("unknown data, unknown schedule[schedule.epochs=200]", {"equal": 2}),
    ]


def test_a_run_that_ended_early_is_missing_from_the_table_of_its_schedule(write: Write) -> None:
    rows = ["r,equal,1,70,200,completed,long", "r,equal,2,,3,diverged,long", "r,equal,3,50,8,completed,short"]
    long, short = tables(read_results(write(f"{COLUMNS},epochs,status,schedule", *rows)))
    assert (long.title, long.rows["equal"][0].absent) == ("unknown data, long[schedule.epochs=200]", {"diverged": 1})
    assert short.rows["equal"][0].complete


def test_epochs_that_were_done_do_not_replace_those_of_the_schedule(write: Write) -> None:
    (table,) = tables(read_results(write(f"{COLUMNS},epochs,schedule.epochs", "r,equal,1,70,190,200", "r,equal,2,71,200,200")))
    assert counts(table) == {"equal": 2}


def test_an_engine_keeps_no_runs_apart_and_is_noted_as_in_a_study(write: Write) -> None:
    frame = read_results(write(f"{COLUMNS},epochs,engine", "r,equal,1,50,8,cpu", "r,equal,2,51,8,gpu"))
    (table,) = tables(frame)
    assert counts(table) == {"equal": 2}
    assert "Runs on 2 different engines: unknown engine=cpu (1 run), unknown engine=gpu (1 run)." in notes(frame, [table])


def test_columns_that_are_passed_over_are_named_once_where_runs_differ_in_them(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(f",{COLUMNS},lr,by,width", "0,r,equal,1,50,0.1,me,16", "1,r,equal,2,70,0.01,me,32")
    assert main([str(path)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"analysis: {path}: passed over, though runs differ in it: lr, width (")


def test_equal_values_of_different_settings_are_different_settings(write: Write) -> None:
    first = read_results(write(f"{COLUMNS},schedule.lr", "r,equal,1,50,0.1"))
    second = read_results(write(f"{COLUMNS},schedule.momentum", "r,equal,2,70,0.1"))
    assert first["setting"][0] != second["setting"][0]


def test_a_setting_is_the_same_beside_a_blank_and_in_another_file(write: Write) -> None:
    first = read_results(write(f"{COLUMNS},schedule.epochs", "r,equal,1,50,8"))
    second = read_results(write(f"{COLUMNS},schedule.epochs,schedule.lr", "r,equal,2,50,8,", "r,equal,3,50,,"))
    assert (first["setting"][0] == second["setting"]).tolist() == [True, False]


# ----------------------------------------------------------------------------------------------------------------- rows added by hand


@pytest.fixture
def ours(tmp_path: Path) -> pd.DataFrame:
    """A study's runs, as its `results.csv` has them."""
    for seed in (1, 2):
        complete(make_cell(tmp_path / "demo", "resnet20", "haw", seed), 60.0 + seed, 60.0)
    fail(make_cell(tmp_path / "demo", "resnet20", "equal", 1), "no")
    write_csv(collect([tmp_path / "demo"]), tmp_path / "results.csv")
    return pd.read_csv(tmp_path / "results.csv")


def test_rows_with_the_least_columns_are_a_setting_beside_ours(ours: pd.DataFrame, tmp_path: Path) -> None:
    theirs = pd.DataFrame([{"model": "resnet20", "loss": loss, "seed": seed, "best_fine_acc": 50} for loss in "ab" for seed in (1, 2)])
    pd.concat([ours, theirs]).to_csv(tmp_path / "merged.csv", index=False)
    found = tables(read_results(tmp_path / "merged.csv"))
    assert [(table.title.partition("[")[0], counts(table)) for table in found] == [
        ("synthetic, smoke", {"equal": 0, "haw": 2}),
        ("unknown data, unknown schedule", {"a": 2, "b": 2}),
    ]


def test_a_row_with_the_settings_of_ours_is_averaged_with_them(ours: pd.DataFrame, tmp_path: Path) -> None:
    copied = ours[ours["seed"] == 2].drop(columns=["setting", "loss_key", "model_key", "signature", "path", "variant", "model_variant"])
    pd.concat([ours, copied.assign(seed=3, best_fine_acc=63.0)]).to_csv(tmp_path / "merged.csv", index=False)
    frame = read_results(tmp_path / "merged.csv")
    (table,) = tables(frame)
    assert table.rows["haw"][0].seeds == {1: 61.0, 2: 62.0, 3: 63.0}
    assert frame["path"].iloc[-1] == "resnet20/haw/seed3"


def test_a_failed_run_without_a_path_is_named_by_what_it_is(ours: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours.drop(columns="path").to_csv(tmp_path / "nopath.csv", index=False)
    assert main([str(tmp_path / "nopath.csv")]) == 0
    assert "failed: demo/resnet20/equal/seed1: RuntimeError: no" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "nopath.csv")]) == 0


# ----------------------------------------------------------------------------------------------------------------- several inputs


def unsigned(ours: pd.DataFrame, folder: Path, **changes: pd.Series) -> Path:
    """The study's completed runs as a file that has lost their signatures."""
    ours[ours["status"] == "completed"].drop(columns="signature").assign(**changes).to_csv(folder / "unsigned.csv", index=False)
    return folder / "unsigned.csv"


@pytest.mark.parametrize("turned", [False, True])
def test_a_run_of_a_study_and_of_a_file_without_signatures_counts_once(
    ours: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str], turned: bool
) -> None:
    inputs = [tmp_path / "demo", unsigned(ours, tmp_path)]
    assert main([str(path) for path in (inputs[::-1] if turned else inputs)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "61.50 ± 0.71 n=2" in text
    assert "2 runs found more than once (same signature) and counted once." in text


def test_a_run_of_two_files_counts_once(ours: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours.to_csv(tmp_path / "signed.csv", index=False)
    assert main([str(tmp_path / "signed.csv"), str(unsigned(ours, tmp_path))]) == 0
    assert "61.50 ± 0.71 n=2" in capsys.readouterr().out


def test_a_run_that_one_input_has_only_failed_is_the_completed_one(ours: pd.DataFrame, tmp_path: Path) -> None:
    path = unsigned(ours, tmp_path)
    pd.read_csv(path).assign(loss="equal").query("seed == 1").drop(columns=["variant"]).assign(
        loss_key=ours.loc[ours["loss"] == "equal", "loss_key"].iloc[0]
    ).to_csv(path, index=False)
    (table,) = tables(gather([tmp_path / "demo", path]))
    assert (table.rows["equal"][0].n, table.rows["equal"][0].absent) == (1, {})


@pytest.mark.parametrize("column", ["best_fine_acc", "last_fine_acc"])
def test_two_results_of_a_run_in_two_inputs_are_refused(
    ours: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    path = unsigned(ours, tmp_path, **{column: ours[column] + 0.01})
    line = complaint(capsys, tmp_path / "demo", path)
    assert line.startswith(f"analysis: {tmp_path / 'demo'} and {path}: two results for resnet20 haw seed 1 under one setting")


# ----------------------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["r,equal,1.5,50,"], "row 2: seed is '1.5', not a whole number"),
        (["r,equal,1,50,", "r,equal,a,50,"], "row 3: seed is 'a', not a whole number"),
        (["r,equal,1e30,50,"], "row 2: seed is '1e30', not a whole number"),
        (["r,equal,1,50,", ",,,,", "r,,2,50,"], "row 4: a run has no loss"),
        (["r,equal,1,50,", " ,equal,2,50,"], "row 3: a run has no model"),
        (["r,equal,1,50,", "r,equal,2,,"], "row 3: a completed run has no best_fine_acc"),
        (["r,equal,1,50,", "r,equal,2,50,done"], "row 3: status is 'done', it must be one of pending, running, interrupted, failed, "),
        (["r,equal,1,50,,more"], "a row has more cells than the header"),
    ],
)
def test_a_cell_that_makes_no_sense_is_named(write: Write, capsys: pytest.CaptureFixture[str], lines: list[str], said: str) -> None:
    path = write(f"{COLUMNS},status", *lines)
    line = complaint(capsys, path)
    assert line.startswith(f"analysis: {path}: ")
    assert said in line


def test_a_status_may_be_written_in_capitals_and_with_blanks(write: Write) -> None:
    (table,) = tables(read_results(write(f"{COLUMNS},status", "r,equal,1,50,Completed", "r,equal,2,,FAILED ", "r,equal,3,51, ")))
    assert (table.rows["equal"][0].n, table.rows["equal"][0].absent) == (2, {"failed": 1})


def test_blanks_around_names_and_heads_are_no_part_of_them(write: Write) -> None:
    rows = ["r , equal,1,50, cosine", "r,equal ,2,51,cosine", " r,haw,1,52,cosine ", "r, haw,2,53,cosine"]
    (table,) = tables(read_results(write("model, loss,seed ,best_fine_acc,schedule.decay", *rows)))
    assert table.columns == ["r"]
    assert counts(table) == {"equal": 2, "haw": 2}


def test_rows_that_blanks_alone_tell_apart_are_one_run(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert "two rows for r equal seed 1 under one setting" in complaint(capsys, write(COLUMNS, "r,equal,1,50", "r ,equal,1,51"))


def test_columns_that_blanks_alone_tell_apart_are_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, write(f"{COLUMNS}, loss", "r,equal,1,50,haw")).endswith(": two columns are named loss")


def test_names_that_elsewhere_mean_nothing_are_names(write: Write) -> None:
    (table,) = tables(read_results(write(f"{COLUMNS},loss.beta", "NA,None,1,50,", "NA,null,1,51,None", "NA,nan,1,51,null")))
    assert table.columns == ["NA"]
    assert counts(table) == {"None": 1, "nan": 1, "null": 1}


@pytest.mark.parametrize("point", [".", ","])
def test_semicolons_separate_cells_with_a_decimal_point_or_comma(write: Write, point: str) -> None:
    rows = [f"r;equal;1;50{point}25;0{point}1;FALSE", f"r;equal;2;51{point}5;0{point}1;TRUE"]
    frame = read_results(write("model;loss;seed;best_fine_acc;schedule.lr;dirty", *rows))
    assert frame["best_fine_acc"].tolist() == [50.25, 51.5]
    assert frame["schedule.lr"].tolist() == [0.1, 0.1]
    assert frame["dirty"].tolist() == [False, True]


def test_all_types_of_a_study_are_read_back(ours: pd.DataFrame, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "results.csv", tmp_path / "copy.csv")
    collected, back = collect([tmp_path / "demo"]), read_results(tmp_path / "copy.csv")
    assert list(back) == list(collected)
    shared = ["signature", "setting", "loss_key", "model_key", "seed", "best_fine_acc", "dirty", "path", "error", "resolved_engine"]
    pd.testing.assert_frame_equal(back[shared], collected[shared])
