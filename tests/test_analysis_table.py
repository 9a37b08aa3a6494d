"""The whole table of a study: every number against an independent computation, every gap visible, nothing concluded that cannot be."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import geometric_mean, mean, stdev
from typing import Any

import pandas as pd
import pytest
from scipy import stats
from studies import GAINS, MODELS, SEEDS, Grid, complete, make_cell

from analysis import render, terminal
from analysis.__main__ import main
from analysis.baseline import Comparison, compare, underline
from analysis.collect import collect
from analysis.notes import notes
from analysis.results import read_results
from analysis.row import COLUMNS
from analysis.sheet import Sheet
from analysis.statistics import resolvable, seeds_needed
from analysis.table import Entry, Summary, Table, tables

# 97.5 % quantiles of Student's t by degrees of freedom, from a printed table.
T = {1: 12.7062, 2: 4.30265}
INCOMPLETE = {"equal", "uncertainty", "dwa"}

Rows = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("runs") / "grid")


@pytest.fixture(scope="module")
def compared(grid: Grid) -> Comparison:
    return compare(main_table(grid.study))


@pytest.fixture
def rows(grid: Grid, capsys: pytest.CaptureFixture[str]) -> Rows:
    """The CSV table's lines of the main setting."""
    assert main(["table", str(grid.study), "--format", "csv"]) == 0
    lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return {(line["strategy"], line["architecture"]): line for line in lines if "smoke" in line["setting"]}


def main_table(study: Path) -> Table:
    return next(table for table in tables(collect([study])) if "smoke" in table.title)


def differences(grid: Grid, model: str, label: str) -> list[float]:
    ours, baseline = grid.values(model, label), grid.values(model, "fine_only")
    return [ours[seed] - baseline[seed] for seed in SEEDS if seed in ours]


def number(text: str) -> float | None:
    return float(text) if text else None


def test_accuracies_and_device_hours(grid: Grid, rows: Rows) -> None:
    assert rows.keys() == set(product(GAINS, MODELS))
    for (label, model), row in rows.items():
        values = list(grid.values(model, label).values())
        keys = [(model, label, seed) for seed in grid.values(model, label)]
        assert (int(row["n"]), int(row["runs"])) == (len(values), 3)
        if values:
            assert float(row["best_mean"]) == pytest.approx(mean(values), rel=1e-6)
            assert float(row["last_mean"]) == pytest.approx(mean(grid.last[key] for key in keys), rel=1e-6)
            assert float(row["device_hours"]) == pytest.approx(mean(grid.hours[key] for key in keys), rel=1e-6)
        assert number(row["best_sd"]) == (pytest.approx(stdev(values), rel=1e-5) if len(values) > 1 else None)


def test_differences_from_the_baseline_and_their_intervals(grid: Grid, rows: Rows) -> None:
    for (label, model), row in rows.items():
        found = differences(grid, model, label) if label != "fine_only" else []
        assert number(row["difference_n"]) == (len(found) or None)
        assert number(row["difference"]) == (pytest.approx(mean(found), abs=1e-5) if found else None)
        half = T[len(found) - 1] * stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None
        low, high = (mean(found) - half, mean(found) + half) if half else (None, None)
        assert number(row["difference_low"]) == (pytest.approx(low, abs=1e-4) if half else None)
        assert number(row["difference_high"]) == (pytest.approx(high, abs=1e-4) if half else None)


def test_figures_over_architectures_are_of_complete_strategies_only(grid: Grid, rows: Rows) -> None:
    complete = [label for label in GAINS if label not in INCOMPLETE]
    means = {label: [mean(grid.values(model, label).values()) for model in MODELS] for label in complete}
    for label in GAINS:
        row = rows[label, "resnet20"]
        if label in INCOMPLETE:
            assert {row[name] for name in ("geometric_mean", "rank", "hours", "pooled_mean", "pooled_p", "pooled_p_holm")} == {""}
            continue
        ranks = [1 + sum(means[other][place] > means[label][place] for other in complete) for place in range(3)]
        hours = sum(mean(grid.hours[model, label, seed] for seed in SEEDS) for model in MODELS)
        assert float(row["geometric_mean"]) == pytest.approx(geometric_mean(means[label]), rel=1e-6)
        assert float(row["rank"]) == pytest.approx(mean(ranks), rel=1e-6)
        assert float(row["hours"]) == pytest.approx(hours, rel=1e-6)


def exact_p(values: list[float]) -> float:
    sums = [abs(sum(sign * value for sign, value in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=len(values))]
    return sum(found >= abs(sum(values)) - 1e-9 for found in sums) / len(sums)


def test_tests_over_architectures(grid: Grid, rows: Rows) -> None:
    tested = [label for label in GAINS if label not in INCOMPLETE | {"fine_only"}]
    p = {label: exact_p([value for model in MODELS for value in differences(grid, model, label)]) for label in tested}
    ordered, adjusted, largest = sorted(p, key=lambda label: p[label]), {}, 0.0
    for rank, label in enumerate(ordered):
        largest = max(largest, min(1.0, p[label] * (len(p) - rank)))
        adjusted[label] = largest
    for label in tested:
        row = rows[label, "vgg16bn"]
        assert int(row["pooled_n"]) == 9
        assert float(row["pooled_p"]) == pytest.approx(p[label], rel=1e-6)
        assert float(row["pooled_p_holm"]) == pytest.approx(adjusted[label], rel=1e-6)
        assert float(row["pooled_mean"]) == pytest.approx(mean(v for model in MODELS for v in differences(grid, model, label)), abs=1e-5)
    assert adjusted["pcgrad"] < 0.05 < adjusted["haw[beta=3]"]  # the fixture has both


def test_holm_is_for_the_strategies_that_were_chosen(grid: Grid, compared: Comparison) -> None:
    chosen = compare(main_table(grid.study), family=["pcgrad", "haw"])
    assert chosen.family == 2
    assert chosen.lines["pcgrad"].adjusted == pytest.approx(2 * 2 / 2**9)
    assert chosen.lines["atwhc"].adjusted is None
    assert compared.family == 4


def test_another_baseline(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(grid.study), "--baseline", "haw[beta=3]", "--strategies", "haw,pcgrad", "--format", "csv"]) == 0
    lines = {(line["strategy"], line["architecture"]): line for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    expected = mean(grid.values("resnet20", "haw").values()) - mean(grid.values("resnet20", "haw[beta=3]").values())
    assert float(lines["haw", "resnet20"]["difference"]) == pytest.approx(expected)
    assert [key[0] for key, line in lines.items() if line["pooled_p_holm"]] == ["haw"] * 3 + ["pcgrad"] * 3


@pytest.mark.parametrize("option", ["--baseline", "--strategies"])
def test_a_strategy_that_is_not_there_is_one_line_that_names_those_that_are(
    grid: Grid, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert main([str(grid.study), option, "fineonly"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("analysis: fineonly: no such strategy")
    assert all(label in line for label in GAINS)


# ----------------------------------------------------------------------------------------------------------------- what is concluded


def test_text_says_what_the_seeds_allow(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(grid.study)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "sign changes of 9 pairs, all of them); the smallest it can give is 0.0039, and 0.016 corrected by Holm's method" in text
    for model in MODELS:
        pairs = [differences(grid, model, label) for label in GAINS if label != "fine_only"]
        spreads = [(len(found) - 1, stdev(found)) for found in pairs if len(found) > 1]
        total = sum(freedom for freedom, _ in spreads)
        sd, worth = math.sqrt(sum(freedom * one**2 for freedom, one in spreads) / total), total / (0.75 + len(spreads) / 4)
        said = f"{model}: differences have an sd of {sd:.2f} (pooled over {len(spreads)} strategies, {worth:.3g} degrees of freedom)"
        low, high = (sd * math.sqrt(worth / stats.chi2.isf(tail, worth)) for tail in (0.025, 0.975))
        least, needed, most = (seeds_needed(0.5, one) for one in (low, sd, high))
        assert (
            f"{said}; n=3 finds {resolvable(sd, 3):.2f} points with 80 % power; 0.5 points needs n={needed} ({least} to {most} by" in text
        )


def test_strategies_of_too_few_pairs_are_named_beside_others_that_have_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, loss in product(range(8), ("fine_only", "equal", "haw")):
        if loss != "haw" or seed < 4:
            complete(make_cell(tmp_path / "demo", "resnet20", loss, seed), 50.0 + seed / 10 + (seed % 2) * (loss != "fine_only"), 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "sign changes of 4 to 8 pairs, all of them); the smallest it can give is 0.0078, and 0.016 corrected" in text
    assert "With so few pairs it cannot show that these differ, whatever the runs say: haw." in text


def test_what_so_few_pairs_can_never_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, loss in product((1, 2, 3), ("fine_only", "equal")):
        complete(make_cell(tmp_path / "demo", "resnet20", loss, seed), 50.0 + seed / 10 + (seed % 2) * (loss == "equal"), 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the smallest it can give is 0.25" in text
    assert "With so few pairs this test cannot show that any strategy differs, whatever the runs say; the t intervals above can, if" in text


def test_a_t_interval_may_show_what_the_permutation_test_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, loss in product((1, 2, 3), ("fine_only", "equal")):
        complete(make_cell(tmp_path / "demo", "resnet20", loss, seed), 50.0 + (5 + seed / 10) * (loss == "equal"), 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "+5.20 [+4.95, +5.45] n=3" in text
    assert "this test cannot show that any strategy differs" in text
    assert "So few pairs cannot" not in text


def test_seeds_that_have_no_pair_are_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Welch's interval by hand: variances 0.02 / 3 and 1 of 4 and 3 values, 2.02 degrees of freedom."""
    values = {"fine_only": {1: 50.0, 2: 51.0, 3: 52.0}, "equal": {1: 48.1, 7: 48.2, 8: 48.2, 9: 48.3}, "dwa": {1: 47.0, 2: 47.5, 3: 47.0}}
    values["haw"] = {1: 49.0}
    for loss, seeds in values.items():
        for seed, best in seeds.items():
            complete(make_cell(tmp_path / "demo", "resnet20", loss, seed), best, 40.0)
    assert main([str(tmp_path / "demo")]) == 0
    sheet = capsys.readouterr().out.partition("The same of all seeds, without pairing")[2].partition("Over")[0]
    difference, half = 48.2 - 51.0, 4.2621 * math.sqrt(1 / 3 + 0.02 / 3 / 4)  # Student's t of 2.02 degrees of freedom at 97.5 %
    found = re.search(r"equal +(\S+) \[(\S+), (\S+)\] n=4, 3", sheet)
    assert found is not None
    assert [float(value) for value in found.groups()] == pytest.approx([difference, difference - half, difference + half], abs=0.006)
    assert re.search(r"haw +-2\.00 n=1, 3", sheet)
    assert "dwa" not in sheet  # its seeds are the baseline's
    assert main([str(tmp_path / "demo"), "--format", "csv"]) == 0
    lines = {line["strategy"]: line for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert float(lines["equal"]["unpaired"]) == pytest.approx(difference)
    assert [lines["haw"]["unpaired_low"], lines["dwa"]["unpaired"]] == ["", ""]


def test_strategies_without_a_pair_are_compared_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for loss, first in (("fine_only", 1), ("equal", 7)):
        for seed in range(first, first + 3):
            complete(make_cell(tmp_path / "demo", "resnet20", loss, seed), 50.0 + seed, 40.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "equal +6.00 [+3.73, +8.27] n=3, 3" in text
    assert "no difference here can be called one" not in text


def test_one_seed_gives_no_interval_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for loss in ("fine_only", "equal"):
        complete(make_cell(tmp_path / "demo", "resnet20", loss), 50.0, 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "+0.00 n=1" in text
    assert "no difference here can be called one" in text
    assert "this test cannot show that any strategy differs, whatever the runs say. " in text
    assert "[" not in text.partition("Difference from")[2].partition("Over")[0]


def test_a_difference_of_an_incomplete_entry_says_how_many_pairs_it_lacks(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(grid.study), "--format", "markdown"]) == 0
    _, _, text = capsys.readouterr().out.partition("**Difference")
    (line,) = [line for line in text.partition("**Over")[0].splitlines() if line.startswith("| equal")]
    assert "n=2 of 3" in line.split("|")[3]
    assert "n=3 |" in line


def column(*entries: list[float]) -> Table:
    """A table of one architecture, with seeds 0, 1, ... and the highest mean marked."""
    best = max(mean(values) for values in entries)
    names = [f"s{place}" for place in range(len(entries))]
    rows = {
        name: [Entry(n=len(values), seeds=dict(enumerate(values)), best=mean(values) == best)]
        for name, values in zip(names, entries, strict=True)
    }
    return Table("", "", ["best"], ["resnet20"], rows)


def tied(table: Table, resolve: float = 0.5) -> list[str]:
    return [name for name, (entry,) in underline(table, resolve).rows.items() if entry.tied]


def test_what_is_not_told_from_the_best_is_underlined_only_where_it_could_have_been() -> None:
    wobble = [0.1, -0.1, 0.05, -0.05, 0.12, -0.12, 0.02, -0.02]
    best = [70.0] * 8
    close, worse = [70 - 0.01 + w for w in wobble], [69.0 + w for w in wobble]
    assert tied(column(best, close, worse)) == ["s1"]
    assert tied(column(best, close, worse), resolve=0.05) == []  # finer than eight seeds resolve
    assert tied(column(best[:2], close[:2], worse[:2])) == []  # two seeds tell nothing from anything
    assert tied(column(best[:1], close[:1], worse[:1])) == []
    assert tied(column([70.0, 71.0], [70.0, 70.5])) == []


def marked() -> Table:
    first, second = Entry(n=2, values={"best": Summary(70.0, 0.1)}, best=True), Entry(n=2, values={"best": Summary(69.9, 0.1)}, tied=True)
    return Table("", "", ["best"], ["resnet20"], {"a": [first], "b": [second]})


@pytest.mark.parametrize(
    ("output", "bold", "underlined"),
    [
        ("markdown", "**70.00 ± 0.10** n=2", "<ins>69.90 ± 0.10</ins> n=2"),
        ("latex", r"\textbf{70.00 $\pm$ 0.10}", r"\underline{69.90 $\pm$ 0.10}"),
        ("text", "*70.00 ± 0.10 n=2", "~69.90 ± 0.10 n=2"),
    ],
)
def test_the_best_and_what_is_not_told_from_it_are_marked(
    capsys: pytest.CaptureFixture[str], output: str, bold: str, underlined: str
) -> None:
    table = marked()
    if output == "text":
        terminal.show([table], [], [], {})
    else:
        print({"markdown": render.markdown, "latex": render.latex}[output]([table], [], {}))
    text = capsys.readouterr().out
    assert bold in text
    assert underlined in text
    assert "corrected for the column" in " ".join(notes(pd.DataFrame(columns=list(COLUMNS)), [table]))


def test_no_strategy_of_three_noisy_seeds_is_underlined(compared: Comparison) -> None:
    assert not any(entry.tied for entries in compared.table.rows.values() for entry in entries)


def test_without_the_baseline_there_are_no_differences_and_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in SEEDS:
        complete(make_cell(tmp_path / "demo", loss="haw", seed=seed), 50.0, 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = capsys.readouterr().out
    assert "The baseline is not among these strategies: no differences." in text
    assert "Difference from" not in text


def test_differences_without_spread_resolve_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, loss in product(SEEDS, ("fine_only", "equal")):
        complete(make_cell(tmp_path / "demo", loss=loss, seed=seed), 50.0, 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    assert "the differences show no spread, and so do not say what n=3 can find." in " ".join(capsys.readouterr().out.split())
    for place, seed in enumerate(SEEDS):  # a strategy that shows some, of 0.3 points: the variance of the two is half of its own
        complete(make_cell(tmp_path / "demo", loss="haw", seed=seed), 51.0 + place * 0.3, 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    assert "differences have an sd of 0.21 (pooled over 2 strategies, " in " ".join(capsys.readouterr().out.split())


def test_the_table_after_a_sweep_is_short_and_needs_no_scipy(grid: Grid) -> None:
    program = (
        "import sys; from pathlib import Path; from analysis.report import report; report(Path(sys.argv[1])); print('scipy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program, str(grid.study)], capture_output=True, text=True, env=environment, check=True)
    assert "haw[beta=3]" in done.stdout
    assert "Difference from" not in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


# ----------------------------------------------------------------------------------------------------------------- settings and provenance


@pytest.mark.parametrize("output", ["text", "markdown", "latex", "csv"])
def test_settings_have_a_table_each_and_what_they_differ_in_is_named_first(
    grid: Grid, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    assert main([str(grid.study), "--format", output]) == 0
    printed = capsys.readouterr()
    text = " ".join((printed.err if output == "csv" else printed.out).removeprefix("% \\usepackage{booktabs, graphicx}\n% ").split())
    said = "2 settings that are not to be averaged or compared, a table each; they differ in schedule.epochs (3, 6)."
    assert text.count(said) == 1
    assert output == "csv" or text.startswith(said)


@pytest.mark.parametrize(
    ("setting", "flagged"),
    [*((name, True) for name in ("channels_last", "compile", "precision", "triton", "fused")), ("threads", False), ("graph", False)],
)
def test_engines_that_differ_in_what_changes_numbers_are_flagged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, flagged: bool
) -> None:
    for seed in (1, 2):
        engine = {"device": "cpu", "precision": 0, "channels_last": 0, "threads": 0, "compile": 0, "graph": 0, "triton": 0, "fused": 0} | {
            setting: seed
        }
        complete(make_cell(tmp_path / "demo", seed=seed), 50.0, 49.0, engine={name: f"is{value}" for name, value in engine.items()})
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    words = [f"cpu is{seed}" if setting == "precision" else f"cpu is0 {setting}=is{seed}" for seed in (1, 2)]
    assert (f"Runs on 2 different engines: {words[0]} (1 run), {words[1]} (1 run)." in text) == flagged
    assert ("different engines" in text) == flagged


def test_pairs_that_differ_in_more_than_their_strategies_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, loss in product((1, 2), ("fine_only", "haw", "pcgrad", "dwa", "equal")):
        device = "another" if (loss, seed) == ("pcgrad", 2) else "cpu"
        kernels: dict[tuple[str, int], dict[str, bool]] = {("dwa", 1): {"triton": True}, ("dwa", 2): {"triton": True, "fused": True}}
        # Like devices may have several names, and graphs and threads change nothing.
        same = {"device": f"cuda:{seed}", "threads": len(loss), "graph": loss == "fine_only"}
        compiled = (loss, seed) == ("equal", 1)
        engine = same | {"precision": "fp32", "compile": compiled} | kernels.get((loss, seed), {})
        path = complete(make_cell(tmp_path / "demo", loss=loss, seed=seed), 50.0 + seed, 49.0, device=device, engine=engine)
        if (loss, seed) == ("haw", 1):
            attempt = path / "attempts" / "1.json"
            known = json.loads(attempt.read_text())
            known["provenance"]["versions"]["torch"] = "1.0"
            attempt.write_text(json.dumps(known))
    assert main([str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "5 of 8 pairs are of runs on different devices, engines or torch versions" in text
    assert "whose effect is in their differences too: equal, dwa, haw, pcgrad." in text
    assert "The device-hours are of different devices (another, cpu)" in text
    assert "cpu fp32 torch 1.0 compile=False (1 run)" in text


def test_strategies_of_fewer_seeds_have_no_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mean of fewer seeds is the surer to be extreme."""
    for loss, reached in {"fine_only": [50.0, 51.0], "haw": [49.0, 49.5], "lucky": [60.0]}.items():
        for seed, value in enumerate(reached):
            complete(make_cell(tmp_path / "demo", loss=loss, seed=seed), value, value)
    assert main([str(tmp_path / "demo"), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.partition("**Over 1 architecture**")[2].splitlines()
    found = {cells[1]: cells[2:5] for line in lines if len(cells := [cell.strip() for cell in line.split("|")]) > 5}
    assert found["strategy"] == ["n", "geom. mean", "mean rank"]
    assert {name: found[name] for name in ("fine_only", "haw", "lucky")} == {
        "fine_only": ["2", "50.50", "1.0"],
        "haw": ["2", "49.25", "2.0"],
        "lucky": ["1", "60.00", ""],
    }


def test_what_is_in_brackets_is_part_of_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not an instruction to the terminal."""
    for loss, width in product(("fine_only", "haw"), (16, 32)):
        complete(make_cell(tmp_path / "demo", loss=loss, model__width=width), 50.0 + width, 49.0)
    assert main([str(tmp_path / "demo")]) == 0
    text = capsys.readouterr().out.partition("Difference from fine_only")[2]
    assert "resnet20[width=16]" in text
    assert "resnet20[width=32]" in text


@pytest.fixture
def chosen_by_validation(tmp_path: Path) -> Path:
    """A study in which another strategy is first where held-out images choose the epoch than where the test set does."""
    reached = {"fine_only": (50.0, 49.0), "haw": (49.0, 49.5), "dwa": (48.0, 48.0)}
    for loss, seed in product(reached, SEEDS):
        best, selected = (value + seed / 1000 for value in reached[loss])
        complete(make_cell(tmp_path / "demo", loss=loss, seed=seed), best, 47.0, selected_fine_acc=selected, selected_epoch=1)
    return tmp_path / "demo"


@pytest.mark.parametrize(
    ("output", "first"),
    [("text", "*49.71 ± 0.22 n=3"), ("markdown", "**49.71 ± 0.22** n=3"), ("latex", r"\textbf{49.71 $\pm$ 0.22}")],
)
def test_another_measure_is_compared(chosen_by_validation: Path, capsys: pytest.CaptureFixture[str], output: str, first: str) -> None:
    assert main([str(chosen_by_validation), "--measure", "selected", "--format", output]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert first in text
    assert "Fine test accuracy at the epoch of highest validation accuracy" in text
    assert "Difference from fine\\_only in fine" in text if output == "latex" else "Difference from fine_only in fine test acc" in text
    assert "+0.50" in text


def test_another_measure_is_tested_and_ranked(chosen_by_validation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for measure in ("best", "selected", "last"):
        assert main([str(chosen_by_validation), "--measure", measure, "--format", "csv"]) == 0
        lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
        found[measure] = {line["strategy"]: (line["marked"], line["rank"], float(line["difference"] or 0)) for line in lines}
    assert found["best"]["haw"] == ("", "2", pytest.approx(-1.0))
    assert found["selected"]["haw"] == ("*", "1", pytest.approx(0.5))
    assert found["last"]["haw"] == ("*", "2", 0.0)


def test_what_is_published_is_the_best_accuracy(chosen_by_validation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(chosen_by_validation), "--measure", "last", "--published"]) == 2
    assert "cannot stand beside another measure" in capsys.readouterr().err


def test_a_measure_that_runs_do_not_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(make_cell(tmp_path / "demo"), 50.0, 49.0)
    assert main([str(tmp_path / "demo"), "--measure", "selected"]) == 2
    assert "have no fine test accuracy at the epoch of highest validation accuracy" in capsys.readouterr().err
    changes: dict[str, Any] = {"data__validation": 100, "loss": "haw"}
    complete(make_cell(tmp_path / "demo", **changes), 51.0, 49.0, selected_fine_acc=48.0, selected_epoch=1)
    assert main([str(tmp_path / "demo"), "--measure", "selected"]) == 0
    said = capsys.readouterr()
    assert "left out, some of its runs have no fine test accuracy" in said.err
    assert ("48.00" in said.out, "50.00" in said.out) == (True, False)


def test_a_list_without_a_strategy_to_test_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for loss, seed in product(("fine_only", "haw"), (1, 2)):
        complete(make_cell(tmp_path / "demo", loss=loss, seed=seed), 50.0 + seed, 49.0)
    assert main([str(tmp_path / "demo"), "--strategies", "fine_only"]) == 0
    assert "None of the strategies that p values are asked for can be tested" in " ".join(capsys.readouterr().out.split())


# ----------------------------------------------------------------------------------------------------------------- beside what is published

BENCHMARK = {
    "data__option": "cifar100", "data__name": "cifar100", "data__train_size": None, "schedule__option": "cosine200",
    "schedule__epochs": 200, "schedule__batch_size": 128, "schedule__lr": 0.1,
}  # fmt: skip


def test_ours_beside_the_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = {"pcgrad": (64.5, 64.7, 64.9), "dwa_batch": (60.0, 60.1, 60.2), "haw": (66.0, 66.1, 66.2), "equal": (70.0, 70.1, 70.2)}
    for loss, values in ours.items():
        for seed, value in zip(SEEDS, values, strict=True):
            complete(make_cell(tmp_path / "demo", "resnet20", loss, seed, **BENCHMARK), value, value)
    assert main([str(tmp_path / "demo"), "--published", "--format", "markdown"]) == 0
    text = capsys.readouterr().out.partition("**Beside")[2]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert {cells[0]: cells[1:] for cells in lines[2:]} == {
        "pcgrad, resnet20": ["64.70 ± 0.20 n=3", "64.53 ± 0.28 n=3", "+0.17 [-0.40, +0.74]"],
        "dwa_batch, resnet20": ["60.10 ± 0.10 n=3", "67.81 ± 0.28 n=3", "-7.71 [-8.32, -7.10]"],
        "haw, resnet20": ["66.10 ± 0.10 n=3", "66.55 n=1", "-0.45"],
    }
    assert "never trains the coarse head" in text


def test_runs_under_another_recipe_are_not_set_beside_the_published(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(grid.study), "--published"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "data.name is synthetic, published cifar100" in line
    assert re.search(r"schedule.epochs is [36], published 200", line)


def test_names_are_not_taken_for_markup() -> None:
    assert r"a\|b \<i> \*c\*" in render.sheet_markdown(Sheet("of names", "name", ["value"], [("a|b <i> *c*", ["1"])]))


# ----------------------------------------------------------------------------------------------------------------- LaTeX


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles_and_is_no_wider_than_the_page(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(grid.study), "--format", "latex"]) == 0
    body = capsys.readouterr().out
    packages = body.splitlines()[0].removeprefix("% ")
    assert packages == r"\usepackage{booktabs, graphicx}"
    (tmp_path / "t.tex").write_text("\n".join([r"\documentclass{article}", packages, r"\begin{document}", body, r"\end{document}"]))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "t.pdf").stat().st_size > 10_000


# ----------------------------------------------------------------------------------------------------------------- a results CSV


def test_the_table_of_results_csv_is_that_of_the_study(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("text", "markdown"):
        assert main([str(grid.study), "--format", output]) == 0
        expected = capsys.readouterr().out.partition("results: ")[0].rstrip()
        shutil.copy(grid.study / "results.csv", tmp_path / "copy.csv")
        assert main([str(tmp_path / "copy.csv"), "--format", output]) == 0
        assert capsys.readouterr().out.rstrip() == expected


def test_a_csv_from_elsewhere_needs_four_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"fine_only": [70.0, 70.5, 71.0], "theirs": [71.0, 71.4, 72.1]}
    lines = [f"wide,{loss},{seed},{value}" for loss, found in values.items() for seed, value in enumerate(found)]
    (tmp_path / "other.csv").write_text("\n".join(["model,loss,seed,best_fine_acc", *lines]))
    assert main([str(tmp_path / "other.csv"), "--format", "csv"]) == 0
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert float(rows["theirs"]["difference"]) == pytest.approx(1.0)
    assert float(rows["fine_only"]["best_sd"]) == pytest.approx(0.5)


def test_settings_in_a_csv_keep_runs_apart(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("model,loss,seed,best_fine_acc,schedule.epochs\nwide,equal,1,70,100\nwide,equal,1,72,200\n")
    found = tables(read_results(tmp_path / "other.csv"))
    assert [table.title for table in found] == [f"unknown data, unknown schedule[schedule.epochs={epochs}]" for epochs in (100, 200)]


def test_blanks_in_a_csv_are_what_a_strategy_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["r,fine_only,1,50,,", "r,fine_only,2,51,,completed", "r,haw,1,52,2,", "r,haw,2,53,2,", "r,haw,1,51,3,"]
    (tmp_path / "other.csv").write_text("\n".join(["model,loss,seed,best_fine_acc,loss.beta,status", *rows]))
    (table,) = tables(read_results(tmp_path / "other.csv"))
    assert {name: [entry.n for entry in entries] for name, entries in table.rows.items()} == {
        "fine_only": [2], "haw[beta=2]": [2], "haw[beta=3]": [1]
    }  # fmt: skip
    assert main([str(tmp_path / "other.csv")]) == 0
    assert "nan" not in capsys.readouterr().out


def test_a_file_of_ours_may_be_of_runs_that_learned_nothing(tmp_path: Path) -> None:
    """At chance, 1 %, accuracies look like fractions."""
    complete(make_cell(tmp_path / "demo"), 1.0, 0.9)
    assert main(["collect", str(tmp_path / "demo")]) == 0
    assert main([str(tmp_path / "demo" / "results.csv")]) == 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("model,loss,seed\nwide,equal,1\n", "has no column best_fine_acc"),
        ("model,loss,seed,best_fine_acc\nwide,equal,1,0.7\n", "from 0.7 to 0.7, it must be percent"),
        ("model,loss,seed,best_fine_acc\nwide,equal,1,much\n", "row 2: best_fine_acc is 'much', not a number"),
        ("model,loss,seed,best_fine_acc\nwide,equal,1,70\nwide,equal,1,71\n", "two rows for wide equal seed 1 under one setting"),
        ("model,loss,seed,best_fine_acc\nwide,equal,,70\n", "a run has no seed"),
        ("", "cannot be read"),
        ("model,loss,seed,best_fine_acc\n", "no runs"),
    ],
)
def test_a_csv_that_makes_no_sense_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, complaint: str) -> None:
    (tmp_path / "other.csv").write_text(content)
    assert main([str(tmp_path / "other.csv")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"analysis: {tmp_path / 'other.csv'}: ")
    assert complaint in line
