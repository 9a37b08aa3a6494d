"""Two studies beside each other: what both have is paired by seed, what one lacks is visible, what differs is named."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from studies import SEEDS, complete, fail, make_cell

from analysis.__main__ import main
from mtlsweep.runs import RunDirectory

A = {"haw": (60.0, 60.5, 61.0), "equal": (50.0, 50.5, 51.0), "dwa": (55.0, 55.5, 56.0)}
B = {"haw": (60.4, 60.8, 61.8), "equal": (50.0, 50.5, 51.0), "pcgrad": (57.0, 57.5, 58.0)}


def build(study: Path, values: Mapping[str, Sequence[float]], commit: str = "a" * 40, **changes: object) -> Path:
    for loss, reached in values.items():
        for seed, value in zip(SEEDS, reached, strict=True):
            complete(make_cell(study, "resnet20", loss, seed, **changes), value, value - 1, commit=commit)
    return study


def lines(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, dict[str, str]]:
    assert main(["compare", *map(str, arguments), "--format", "csv"]) == 0
    return {line["strategy"]: line for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}


def test_cells_of_both_are_paired_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys, build(tmp_path / "a", A), build(tmp_path / "b", B))
    differences = [b - a for a, b in zip(A["haw"], B["haw"], strict=True)]
    half = 4.30265 * stdev(differences) / 3**0.5
    haw = {name: float(found["haw"][name]) for name in ("a_mean", "b_mean", "difference", "difference_low", "difference_high")}
    expected = [mean(A["haw"]), mean(B["haw"]), mean(differences), mean(differences) - half, mean(differences) + half]
    assert list(haw.values()) == pytest.approx(expected, abs=1e-4)
    assert (found["haw"]["equal"], found["equal"]["equal"]) == ("0", "3")


def test_strategies_of_a_file_from_elsewhere_are_known_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"resnet20,{loss},{seed},{value}" for loss, reached in B.items() for seed, value in zip(SEEDS, reached, strict=True)]
    (tmp_path / "theirs.csv").write_text("\n".join(["model,loss,seed,best_fine_acc", *rows]))
    found = lines(capsys, build(tmp_path / "a", A), tmp_path / "theirs.csv")
    assert {name: line["difference_n"] for name, line in found.items()} == {"haw": "3", "equal": "3", "dwa": "", "pcgrad": ""}


@pytest.mark.parametrize("changed", [True, False])
def test_strategies_that_are_the_same_by_name_only_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: bool) -> None:
    """As where a default has changed between two commits."""
    build(tmp_path / "a", {"dwa": A["dwa"]}, loss__temperature=2.0)
    build(tmp_path / "b", {"dwa": B["pcgrad"]}, loss__temperature=2.5 if changed else 2.0)
    for study in ("a", "b"):
        for path in (tmp_path / study).rglob("run.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"variant": {}}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    said = "dwa is the same by its name only; it differs in loss.temperature (2 in A, 2.5 in B)."
    assert (said in text) == changed
    assert "0 of 3" in text


def test_strategies_that_share_a_name_are_not_the_same_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", {"haw": A["haw"]}, loss__beta=3.0)
    build(tmp_path / "a", {"haw": A["haw"]}, loss__beta=4.0)
    build(tmp_path / "b", {"haw": B["haw"]}, loss__beta=5.0)
    for path in tmp_path.rglob("run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"variant": {}}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "0 of 3 entries have a seed that both completed." in text
    assert "by its name only" not in text


def test_code_that_is_in_no_commit_is_said_of_its_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", A)
    for seed in SEEDS:
        other: dict[str, Any] = {"dirty": seed == 42, "changed_midway": ["torch"] if seed == 123 else []}
        complete(make_cell(tmp_path / "b", loss="haw", seed=seed), 60.0, 59.0, **other)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "A: commit aaaaaaa (9 runs); on cpu fp32 (9 runs). B: commit aaaaaaa (3 runs); on cpu fp32 (3 runs); 1 run made with" in text
    assert "1 run interrupted and continued with another torch: the last one's is named here." in text


def test_what_only_one_has_is_shown_and_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail(make_cell(build(tmp_path / "b", B), "resnet20", "dwa", 42), "no")
    found = lines(capsys, build(tmp_path / "a", A), tmp_path / "b")
    assert (found["dwa"]["b_absent"], found["dwa"]["difference"]) == ("failed", "")
    assert (found["pcgrad"]["a_absent"], found["pcgrad"]["difference_n"]) == ("missing", "")


def test_text_says_how_many_intervals_exclude_0_and_who_made_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", A)
    build(tmp_path / "b", {"haw": (61.0, 61.6, 61.9)}, commit="b" * 40)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 entries have a seed that both completed." in text
    assert "Intervals that do not contain 0: 1 of 1 (0.1 are to be expected by chance alone)." in text
    assert "A: commit aaaaaaa (9 runs); on cpu fp32 (9 runs)." in text
    assert "B: commit bbbbbbb (3 runs)" in text


def test_where_no_entry_has_an_interval_none_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", {"haw": A["haw"]})
    build(tmp_path / "b", {"haw": [value + 0.5 for value in A["haw"]]})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "+0.50 n=3" in text
    assert "1 of 1 entries have a seed that both completed. equal: pairs of seeds" in text
    assert "Intervals that do not contain 0" not in text


def test_two_commits_of_one_study_with_the_results_that_were_put_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "demo", {"haw": A["haw"]})
    for seed in SEEDS:
        RunDirectory(make_cell(tmp_path / "demo", "resnet20", "haw", seed).directory).put_aside()
    for path in tmp_path.glob("demo/*/*/*/*/attempts/*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"owner": record["owner"] | {"started": 0.0, "ticks": 0}}))  # its process has ended
    build(tmp_path / "demo", {"haw": B["haw"]}, commit="b" * 40)
    found = lines(capsys, f"{tmp_path / 'demo'}@aaa", f"{tmp_path / 'demo'}@bbb")
    assert float(found["haw"]["a_mean"]) == pytest.approx(mean(A["haw"]))
    assert float(found["haw"]["b_mean"]) == pytest.approx(mean(B["haw"]))
    assert main(["compare", str(tmp_path / "demo"), f"{tmp_path / 'demo'}@ccc"]) == 2
    assert "no finished run of commit ccc; there are runs of: aaaaaaa, bbbbbbb" in capsys.readouterr().err


def test_one_setting_each_is_compared_across_and_the_difference_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", A)
    build(tmp_path / "b", B, engine__precision="bf16")
    found = lines(capsys, tmp_path / "a", tmp_path / "b")
    assert found["haw"]["setting"] == "they differ in engine.precision (auto, bf16)"
    assert float(found["haw"]["difference_n"]) == 3


def test_several_settings_none_of_them_shared_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a", A)
    build(build(tmp_path / "b", B, schedule__epochs=6), B, schedule__epochs=9)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "they differ in schedule.epochs (3, 6, 9)" in capsys.readouterr().err


def test_a_setting_that_only_one_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(build(tmp_path / "a", A), A, schedule__epochs=6)
    build(tmp_path / "b", B)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert (
        "- Only A has runs of: synthetic, smoke[schedule.epochs=6, data.train_size=1000, schedule.batch_size=32, schedule.lr=0.05]." in out
    )
    assert "| haw, resnet20" in out


def test_latex_has_a_booktabs_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(build(tmp_path / "a", A)), str(build(tmp_path / "b", B)), "--format", "latex"]) == 0
    out = capsys.readouterr().out
    assert r"\toprule" in out
    assert r"haw, resnet20 & 60.50 $\pm$ 0.50 n=3 & 61.00 $\pm$ 0.72 n=3 & +0.50 [$-$0.16, +1.16] n=3 & 0 of 3 \\" in out


@pytest.mark.parametrize("name", ["nowhere", "nowhere@aaa", "empty"])
def test_a_study_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "empty").mkdir()
    build(tmp_path / "a", A)
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name.partition("@")[0] in line
