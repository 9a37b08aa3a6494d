"""The notebooks run on a study as they are, and are stored without output."""

import json
from pathlib import Path

import pytest
from studies import Grid, complete, make_cell

from analysis.__main__ import main

NOTEBOOKS = sorted((Path(__file__).parents[1] / "analysis" / "notebooks").glob("*.ipynb"))

pytest.importorskip("matplotlib")
pytest.importorskip("seaborn")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["dynamics", "table"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_output(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Grid(tmp_path / "runs" / "demo").study
    # Of another setting, whose epochs are no part of a mean over the table's.
    complete(make_cell(study, "resnet20", "equal", 1, schedule__option="long", schedule__epochs=6), 55.0, 54.0, best_epoch=6)
    assert main(["collect", str(study)]) == 0
    (tmp_path / "analysis" / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(path.parents[2]))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "analysis" / "notebooks")}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    if path.stem == "table":
        text = "".join(output["data"].get("text/markdown", "") for output in shown if "data" in output)
        assert "| haw[beta=3] |" in text
        assert "Difference from fine_only" in text
    else:
        (best,) = (cell["outputs"][0]["data"]["text/plain"] for cell in notebook.cells if "best_epoch" in cell["source"])
        rows = {line.split()[0]: line.split()[1:] for line in best.splitlines()[2:]}
        assert rows["equal"] == ["2.0"] * 3
        assert rows["uncertainty"][1] != "2.0"  # diverged
