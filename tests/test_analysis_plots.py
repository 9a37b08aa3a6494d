"""The plots show the runs: their lines are the means over seeds, their fronts what nobody beats, and damaged files are named."""

import sys
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from studies import GAINS, MODELS, SEEDS, Grid, complete, log_epochs, make_cell

from analysis.__main__ import main
from analysis.collect import collect
from analysis.plots import FORMATS, Data, choose, data, figures, write
from analysis.table import Entry, Summary, Table, tables

pytest.importorskip("matplotlib")
pytest.importorskip("seaborn")

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import cost, strip
from analysis.cost import pareto
from analysis.figures import draw


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("runs") / "grid")


@pytest.fixture(scope="module")
def drawn_of(grid: Grid) -> Data:
    frame = collect([grid.study])
    return next(one for one in data(frame, grid.study, tables(frame)) if "smoke" in one.table.title)


def front(axes: Axes) -> Line2D:
    (line,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    return line


def drawn_cost(drawn_of: Data) -> Figure:
    figure = cost.cost(drawn_of)
    assert figure is not None
    return figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def is_inside(artist: Artist, figure: Figure) -> bool:
    box = artist.get_window_extent()
    return bool(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height)


def narrow(drawn_of: Data, title: str = "") -> Data:
    """The same of one architecture."""
    table = replace(drawn_of.table, title=title, columns=["resnet20"], rows={name: row[:1] for name, row in drawn_of.table.rows.items()})
    runs, epochs = (frame[frame["architecture"] == "resnet20"] for frame in (drawn_of.runs, drawn_of.epochs))
    return replace(drawn_of, table=table, runs=runs, epochs=epochs)


def test_the_curves_are_means_over_seeds(grid: Grid, drawn_of: Data) -> None:
    axes = draw(drawn_of)["curves"].axes
    assert [panel.get_title() for panel in axes] == ["resnet20 (n=3)", "resnet56 (n=2 to 3)", "vgg16bn (n=1 to 3)"]
    lasts = sorted(float(np.asarray(line.get_ydata())[-1]) for line in axes[0].lines)
    assert lasts == pytest.approx(sorted(mean(grid.last["resnet20", label, seed] for seed in SEEDS) for label in GAINS))


def test_weights_and_conflicts_are_drawn_for_whom_they_are_known(drawn_of: Data) -> None:
    axes = draw(drawn_of)["weights"].axes
    assert [panel.get_ylabel() for panel in axes[::3]] == ["weight of the fine loss", "weight of the coarse loss", "share of conflicts"]
    assert len(axes[3].lines) == len(GAINS)
    (conflicts,) = axes[6].lines
    assert np.asarray(conflicts.get_ydata()) == pytest.approx(0.25)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_runs_are_drawn_in_the_same_bytes(drawn_of: Data, kind: str) -> None:
    images = [BytesIO(), BytesIO()]
    for image in images:
        write(figures(drawn_of)["strip"], image, kind)
    assert images[0].getvalue() == images[1].getvalue() != b""


def test_of_lines_on_top_of_each_other_the_solid_one_is_drawn_first(drawn_of: Data) -> None:
    equal_weights = draw(drawn_of)["weights"].axes[0]
    assert [line.is_dashed() for line in equal_weights.lines] == [False] + [True] * (len(GAINS) - 1)


def test_the_strip_shows_every_seed_of_whom_is_far_below_as_a_number(grid: Grid, drawn_of: Data) -> None:
    axes = strip.strip(drawn_of).axes
    for panel, model in zip(axes, MODELS, strict=True):
        points = np.asarray(panel.lines[0].get_xdata())
        near = [value for (where, label, _), value in grid.best.items() if where == model and label != "atwhc"]
        assert sorted(points) == pytest.approx(sorted(near))
        below = sorted(grid.values(model, "atwhc").values())
        numbers = ", ".join(f"{value:.1f}" for value in below)
        assert [text.get_text() for text in panel.texts] == [f"◂ {numbers}\n   mean {mean(below):.1f}"]


def test_one_seed_far_below_the_others_of_its_strategy_is_a_number_where_no_point_is(drawn_of: Data) -> None:
    far = (drawn_of.runs["strategy"] == "dwa") & (drawn_of.runs["seed"] == SEEDS[0]) & (drawn_of.runs["architecture"] == "resnet20")
    runs = drawn_of.runs.assign(best_fine_acc=drawn_of.runs["best_fine_acc"].mask(far, 50.04))
    figure = strip.strip(replace(drawn_of, runs=runs))
    panel = figure.axes[0]
    figure.draw_without_rendering()
    assert sum(text.get_text().startswith("◂ 50.0\n") for text in panel.texts) == 1
    first = panel.transData.transform((min(np.asarray(panel.lines[0].get_xdata())), 0))[0]
    boxes = [text.get_window_extent() for text in panel.texts]
    assert all(panel.bbox.x0 <= box.x0 and box.x1 < first for box in boxes)


def test_the_cost_plot_joins_the_pareto_front(grid: Grid, drawn_of: Data) -> None:
    hours = {label: mean(grid.hours["resnet20", label, seed] for seed in SEEDS) for label in GAINS}
    gain = {label: mean(grid.values("resnet20", label).values()) for label in GAINS}
    better = {a: [b for b in GAINS if hours[b] <= hours[a] and gain[b] > gain[a]] for a in GAINS}
    expected = {label for label in GAINS if not better[label]}
    assert set(pareto(hours, gain)) == expected
    figure = drawn_cost(drawn_of)
    assert np.asarray(front(figure.axes[0]).get_xdata()) == pytest.approx(sorted(hours[label] for label in expected - {"atwhc"}))
    assert legend(figure) == ["Pareto front", *(name for name in drawn_of.shown if name != "atwhc")]
    assert f"below the axis: atwhc {gain['atwhc']:.1f}" in figure.axes[0].get_xlabel()


def test_a_front_names_who_is_on_it_and_not_among_those_in_colour(drawn_of: Data) -> None:
    figure = drawn_cost(replace(drawn_of, shown=["dwa"]))
    assert {"dwa", "pcgrad"} < set(legend(figure))  # pcgrad is the best of all
    assert legend(figure)[-1] == f"{len(GAINS) - 1 - len(legend(figure)[1:-1])} others"


def test_who_has_no_device_hours_is_on_no_front_and_not_in_the_cost_plot(drawn_of: Data) -> None:
    assert pareto({"fine": 1.0, "haw": float("nan"), "stch": 2.0}, {"fine": 70.0, "haw": 75.0, "stch": 72.0}) == ["fine", "stch"]
    runs = drawn_of.runs.assign(device_hours=drawn_of.runs["device_hours"].mask(drawn_of.runs["strategy"] == "pcgrad"))
    figure = drawn_cost(replace(drawn_of, runs=runs))
    assert "pcgrad" not in legend(figure)
    assert len(figure.axes[0].containers) == len(GAINS) - 2  # one is below the axis
    assert not np.isnan(np.asarray(front(figure.axes[0]).get_xdata(), dtype=float)).any()


def test_hours_of_several_devices_are_said_not_to_compare_and_have_no_front(drawn_of: Data) -> None:
    devices = ["this", *["that"] * (len(drawn_of.runs) - 1)]
    figure = drawn_cost(replace(drawn_of, runs=drawn_of.runs.assign(device=devices)))
    assert "runs of several devices (that, this): hours are not comparable" in figure.get_suptitle()
    assert [np.size(front(panel).get_xdata()) for panel in figure.axes] == [0] * len(MODELS)
    assert "Pareto front" not in legend(figure)
    assert "devices" not in drawn_cost(drawn_of).get_suptitle()


def test_titles_and_legends_are_inside_the_figure(drawn_of: Data) -> None:
    for figure in draw(narrow(drawn_of, title="cifar100, " * 20)).values():
        figure.draw_without_rendering()
        assert all(is_inside(artist, figure) for artist in (*figure.texts, *figure.legends))


def test_architecture_without_a_completed_run_has_an_empty_panel(tmp_path: Path) -> None:
    for model, loss in (("resnet20", "equal"), ("vgg16bn", "haw")):
        path = complete(make_cell(tmp_path / "s", model=model, loss=loss), 50.0, 49.0)
        log_epochs(path, [40.0, 50.0, 49.0])
    (path / "result.json").write_text((path / "result.json").read_text().replace('"completed"', '"diverged"'))
    frame = collect([tmp_path / "s"])
    (one,) = data(frame, tmp_path / "s", tables(frame))
    titles = [[panel.get_title() for panel in figure.axes] for name, figure in draw(one).items() if name in ("strip", "cost")]
    assert titles == [["resnet20 (n=1)", "vgg16bn (no run)"]] * 2


def test_names_of_a_searchs_trials_leave_room_for_the_panels(drawn_of: Data) -> None:
    trials = {name: f"self_fading[weight=0.59504{place}, power=2.16097, fade=0.00034312]" for place, name in enumerate(drawn_of.table.rows)}
    one = narrow(drawn_of)
    table = replace(one.table, rows={trials[name]: found for name, found in one.table.rows.items()})
    runs, epochs = (frame.replace({"strategy": trials}) for frame in (one.runs, one.epochs))
    with warnings.catch_warnings(action="error"):  # which matplotlib gives where there is none
        for figure in draw(Data(table, runs, epochs, [trials[name] for name in drawn_of.shown])).values():
            figure.savefig(BytesIO())
            assert all(is_inside(artist, figure) for artist in figure.legends)


def test_equal_cost_leaves_the_better_one() -> None:
    assert pareto({"a": 1.0, "b": 1.0, "c": 2.0}, {"a": 5.0, "b": 6.0, "c": 6.0}) == ["b"]


def test_png_and_svg_of_each_setting_are_written(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plots", str(grid.study), "-o", str(tmp_path), "--strategies", "haw,haw[beta=3]"]) == 0
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    figures = {f"setting2/{name}" for name in ("curves", "weights", "strip", "cost")} | {"setting1/strip", "setting1/cost"}
    assert names == {f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")}
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(str(tmp_path / name) for name in names)


def test_epochs_that_cannot_be_read_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        path = complete(make_cell(tmp_path / "demo", seed=seed), 50.0, 49.0)
        log_epochs(path, [40.0, 50.0, 49.0])
    (path / "metrics.csv").write_text("epoch,test_fine_acc\n1,much\n")
    frame = collect([tmp_path / "demo"])
    (found,) = data(frame, tmp_path / "demo", tables(frame))
    assert str(path / "metrics.csv") in capsys.readouterr().err
    assert sorted(found.epochs["seed"].unique()) == [1, 2]


def many(count: int) -> Table:
    rows = {f"s{number:02d}": [Entry(n=1, values={"best": Summary(50.0 + number, None)})] for number in range(count)}
    return Table("", "", ["best"], ["resnet20"], rows | {"fine_only": [Entry(n=1, values={"best": Summary(1.0, None)})]})


def test_of_many_strategies_the_controls_and_the_highest_are_in_colour() -> None:
    assert choose(many(30)) == [f"s{number}" for number in range(22, 30)] + ["fine_only"]
    assert choose(many(5)) == [*many(5).rows]
    assert choose(many(30), ["s03", "fine_only"]) == ["s03", "fine_only"]


def test_without_matplotlib_it_is_one_line(grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "analysis.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plots", str(grid.study)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "analysis: plots need matplotlib: .venv/bin/pip install -e '.[plots]'"
