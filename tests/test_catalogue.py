import pytest
from conftest import ROOT

from mtlsweep.__main__ import main
from mtlsweep.catalogue import catalogue, markdown


def test_page_is_in_step_with_the_strategies() -> None:
    """If not: python -m mtlsweep strategies --format markdown > docs/strategies.md."""
    assert (ROOT / "docs" / "strategies.md").read_text() == markdown(catalogue())


def test_table_names_every_strategy_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["strategies", "--format", "markdown"])
    rows = capsys.readouterr().out.splitlines()[8:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == sorted(path.stem for path in (ROOT / "conf" / "loss").glob("*.yaml"))


def test_table_says_what_a_strategy_costs_and_keeps() -> None:
    found = {entry.name: entry for entry in catalogue()}
    assert (found["pcgrad"].kind, found["pcgrad"].passes) == ("Gram", "1F 2B")
    assert (found["haw_reg"].kind, found["haw_reg"].parameters, found["haw_reg"].state) == (
        "scalar",
        "beta=2, strength=0.01",
        "log_variances",
    )
    assert "Kendall" in found["uncertainty"].source
