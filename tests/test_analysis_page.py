"""The report is one page with everything in it: numbers that lead to their runs, gaps with their last words, and nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev

import pytest
from studies import GAINS, MODELS, Grid, complete, make_cell

from analysis.__main__ import main

pytest.importorskip("matplotlib")
pytest.importorskip("seaborn")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


class Page(HTMLParser):
    """Tables as rows of texts, ids, links, and whatever a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        self.fetched += [value or "" for name, value in attrs if name in ("src", "data", "srcset") or (name == "href" and tag != "a")]
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "th" | "td":
                self.tables[-1][-1].append("")
        if tag not in ("meta", "br", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag  # well nested

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += data
            if {"th", "td"} & set(self._open):
                self.tables[-1][-1][-1] += f" {data}"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("runs") / "grid")


@pytest.fixture(scope="module")
def file(grid: Grid) -> Path:
    assert main(["report", str(grid.study), "-o", str(grid.study / "page.html")]) == 0
    return grid.study / "page.html"


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return Page(file.read_text())


def table(page: Page, *heads: str) -> dict[str, list[str]]:
    """The last table with these heads, by the first cell of its rows."""
    rows = [rows for rows in page.tables if [cell.strip() for cell in rows[0]][: len(heads)] == list(heads)][-1]
    return {" ".join(first.split()): [" ".join(cell.split()) for cell in cells] for first, *cells in rows[1:]}


def test_the_accuracies_are_those_of_the_runs(grid: Grid, page: Page) -> None:
    tables = [rows for rows in page.tables if [cell.strip() for cell in rows[0]] == ["strategy", *MODELS]]
    accuracies = {first.strip(): [" ".join(cell.split()) for cell in cells] for first, *cells in tables[0][1:]}
    assert accuracies.keys() == GAINS.keys()
    for label, cells in accuracies.items():
        for model, cell in zip(MODELS, cells, strict=True):
            values = list(grid.values(model, label).values())
            if len(values) > 1:
                assert cell.startswith(f"{mean(values):.2f} ± {stdev(values):.2f} n={len(values)} last")
    assert accuracies["uncertainty"][1] == "3 diverged"
    assert accuracies["equal"][1].endswith("+1 failed")
    assert accuracies["dwa"][2].endswith("+1 interrupted +1 pending")


def test_every_number_leads_to_its_runs_and_their_command(grid: Grid, page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert {link.removeprefix("#") for link in page.links} == set(page.ids)
    found = listed(page)
    for (model, label, seed), best in grid.best.items():
        cells = found[label, model, seed]
        assert cells["best"] == f"{best:.2f}"
        assert f"python run.py model={model} loss={label.partition('[')[0]} seed={seed}" in cells["command"]
    assert len(found) == len(grid.best)


def listed(page: Page) -> dict[tuple[str, str, int], dict[str, str]]:
    """The longest table of runs: a run's words by head."""
    (heads, *rows) = max((rows for rows in page.tables if "command" in rows[0][-1] or "command" in rows[0][-2]), key=len)
    runs = [dict(zip(map(str.strip, heads), map(str.strip, row), strict=True)) for row in rows]
    return {(run["strategy"], run["architecture"], int(run["seed"])): run for run in runs}


def test_commit_and_engine_are_said_once_where_all_runs_share_them_and_else_of_each(page: Page, tmp_path: Path) -> None:
    assert f"All of them: commit {'a' * 12}; engine cpu; precision=fp32." in " ".join(page.text.split())
    assert not {"commit", "engine"} & set(next(iter(listed(page).values())))
    for seed, commit in ((1, "a"), (2, "b")):
        complete(make_cell(tmp_path / "demo", seed=seed), 50.0, 49.0, commit=commit * 40)
    assert main(["report", str(tmp_path / "demo"), "-o", str(tmp_path / "page.html")]) == 0
    runs = listed(Page((tmp_path / "page.html").read_text()))
    assert [run["commit"] for run in runs.values()] == ["a" * 12, "b" * 12]
    assert "engine" not in runs["equal", "resnet20", 1]


def test_what_did_not_complete_is_there_with_its_last_words(page: Page) -> None:
    text = " ".join(page.text.partition("Not completed")[2].split())
    assert "failed : resnet56 equal synthetic smoke seed 42" in text.replace("failed:", "failed :")
    assert "RuntimeError: CUDA out of memory tried to allocate" in text
    assert text.count("fine loss is nan in epoch 2") == 3
    assert "interrupted: vgg16bn dwa synthetic smoke seed 123" in text
    assert "pending: vgg16bn dwa synthetic smoke seed 456" in text


def test_nothing_is_fetched(file: Path, page: Page) -> None:
    assert len(page.fetched) == 4 + 2  # the figures of two settings
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.fetched)
    assert not re.search(r"url\(|@import", file.read_text())


def test_names_are_escaped(tmp_path: Path) -> None:
    cell = make_cell(tmp_path / "demo", loss="equal", loss__tag="<script>alert(1)</script>")
    complete(cell, 50.0, 49.0)
    assert main(["report", str(tmp_path / "demo"), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_of_what_a_csv_does_not_hold_cells_are_empty_or_unknown(tmp_path: Path) -> None:
    rows = ["r,equal,1,50,", "r,equal,2,51,completed", "r,haw,1,,failed"]
    (tmp_path / "theirs.csv").write_text("\n".join(["model,loss,seed,best_fine_acc,status", *rows]))
    assert main(["report", str(tmp_path / "theirs.csv"), "-o", str(tmp_path / "page.html")]) == 0
    page = Page((tmp_path / "page.html").read_text())
    assert not re.search(r"\b(nan|None|NA)\b", page.text)
    assert "Unknown device-hours" in page.text
    assert "All of them: commit unknown; engine unknown." in " ".join(page.text.split())
    runs = listed(page)
    assert [(run["best"], run["epoch"], run["last"], run["command"]) for run in runs.values()] == [
        ("50.00", "", "", ""),
        ("51.00", "", "", ""),
    ]


def test_without_matplotlib_there_is_a_page_that_says_so(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "analysis.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(grid.study), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "No plots: plots need matplotlib" in text
    assert "<img" not in text


def test_a_page_that_cannot_be_written_is_one_line(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(grid.study), "-o", str(tmp_path / "no" / "page.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err.splitlines()[-1]


def browse(page: Path, *options: str) -> str:
    assert CHROMIUM
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={page.parent / 'profile'}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@needs_chromium
def test_a_click_on_a_head_sorts_by_value_with_empty_cells_last(file: Path, tmp_path: Path) -> None:
    clicks = """<script>
        const table = document.querySelectorAll("table")[2];  // the main setting's accuracies
        const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim()).join(" ");
        const click = column => { table.tHead.rows[0].cells[column].querySelector("button").click(); return order(); };
        document.title = [click(2), click(2), click(0)].join("; ");
    </script></body>"""
    (tmp_path / "page.html").write_text(file.read_text().replace("</body>", clicks))
    title = re.search("<title>(.*?)</title>", browse(tmp_path / "page.html", "--dump-dom"), re.DOTALL)
    assert title
    down, up, names = title[1].split("; ")
    # ResNet-56: uncertainty has no number.
    assert down.split() == ["pcgrad", "haw", "fine_only", "haw[beta=3]", "dwa", "equal", "atwhc", "uncertainty"]
    assert up.split() == ["atwhc", "equal", "dwa", "haw[beta=3]", "fine_only", "haw", "pcgrad", "uncertainty"]
    assert names.split() == sorted(GAINS)


@needs_chromium
def test_a_phone_scrolls_tables_and_not_the_page(file: Path, tmp_path: Path) -> None:
    probe = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    (tmp_path / "page.html").write_text(file.read_text().replace("</body>", probe))
    title = re.search("<title>(.*?)</title>", browse(tmp_path / "page.html", "--dump-dom", "--window-size=500,900"))
    assert title
    assert int(title[1]) <= 0
