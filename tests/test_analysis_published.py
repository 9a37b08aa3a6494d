"""Beside the published: runs of a file from elsewhere are set there if they are under the recipe, what it leaves open is named."""

from pathlib import Path

import pytest

from analysis.__main__ import main

RECIPE = {
    "data.name": "cifar100", "data.train_size": "", "data.test_size": "", "data.validation": "0", "schedule.epochs": "200",
    "schedule.batch_size": "128", "schedule.lr": "0.1", "schedule.momentum": "0.9", "schedule.weight_decay": "0.0005",
}  # fmt: skip


def written(tmp_path: Path, columns: dict[str, str], **changes: str) -> str:
    """A CSV of one run of haw with these cells."""
    cells = {"model": "resnet20", "loss": "haw", "seed": "42", "best_fine_acc": "66.0"} | columns | changes
    (tmp_path / "theirs.csv").write_text(f"{','.join(cells)}\n{','.join(cells.values())}\n")
    return str(tmp_path / "theirs.csv")


def beside(capsys: pytest.CaptureFixture[str], file: str) -> str:
    assert main([file, "--published", "--format", "markdown"]) == 0
    return capsys.readouterr().out.partition("**Beside")[2].partition("- best:")[0]


def test_a_run_under_the_recipe_is_set_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = beside(capsys, written(tmp_path, RECIPE))
    assert "| haw, resnet20" in text
    assert "not known." not in text


def test_the_epochs_of_a_completed_run_are_those_of_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {key: value for key, value in RECIPE.items() if key != "schedule.epochs"}
    assert "| haw, resnet20" in beside(capsys, written(tmp_path, columns, epochs="200"))


def test_parameters_of_a_strategy_are_named_as_perhaps_not_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = beside(capsys, written(tmp_path, RECIPE | {"loss.beta": "7", "model.width": "32"}))
    assert "| haw, resnet20" in text
    assert "haw (HAW): whether theirs has loss.beta=7, model.width=32 too is not known." in text


def test_the_benchmarks_own_pcgrad_is_set_beside_what_it_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = beside(capsys, written(tmp_path, RECIPE, loss="pcgrad_mlsbench", best_fine_acc="64.0"))
    (row,) = (line for line in text.splitlines() if line.startswith("| pcgrad_mlsbench, resnet20"))
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["64.00 n=1", "64.53 ± 0.28 n=3", "-0.53"]
    assert "theirs never trains" not in text
    assert "pcgrad_mlsbench (PCGrad): theirs is pcgrad_mlsbench or pcgrad_mlsbench_walked" in text
    assert "pcgrad (PCGrad): theirs never trains the coarse head (nor" in beside(capsys, written(tmp_path, RECIPE, loss="pcgrad"))


def test_the_difference_has_an_interval_that_is_the_wider_the_noisier_ours_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Theirs is 66.81 +- 0.61 of three seeds; the intervals by Welch's formula and t quantiles, not by our code."""
    found = {}
    for name, values in {"quiet": (65.5, 65.6), "noisy": (63.5, 67.6), "equal": (65.5, 65.5), "one": (65.5,)}.items():
        rows = [
            RECIPE | {"model": "resnet20", "loss": "uncertainty", "seed": str(n), "best_fine_acc": str(v)} for n, v in enumerate(values)
        ]
        (tmp_path / "theirs.csv").write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))
        (row,) = (line for line in beside(capsys, str(tmp_path / "theirs.csv")).splitlines() if line.startswith("| uncertainty, "))
        found[name] = [cell.strip() for cell in row.split("|")[4:-1]]
    assert found == {"quiet": ["-1.26 [-2.73, +0.20]"], "noisy": ["-1.26 [-24.48, +21.95]"], "equal": ["-1.31"], "one": ["-1.31"]}


def test_another_curriculum_is_another_strategy_and_an_empty_sheet_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path, RECIPE, curriculum="linear"), "--published", "--format", "markdown"]) == 0
    said = capsys.readouterr()
    assert "published best" not in said.out
    assert "analysis: nothing was published for any entry of " in said.err


def test_what_a_file_does_not_say_is_told_from_what_it_says_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path, {"schedule.lr": "0.05", "data.train_size": "500"}), "--published"]) == 2
    line = capsys.readouterr().err
    assert (
        "not in the file: data.name, data.validation, schedule.epochs, schedule.batch_size, schedule.momentum, schedule.weight_decay;"
        in line
    )
    assert "; data.train_size is 500, published all; schedule.lr is 0.05, published 0.1)" in line
