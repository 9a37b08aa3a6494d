import importlib
import inspect
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from omegaconf import OmegaConf

from mtlsweep.catalogue import COMMON, call_of
from mtlsweep.catalogue import OPTIONS as FOLDER
from mtlsweep.losses import Strategy
from mtlsweep.losses.atwhc import ATWHC
from mtlsweep.losses.dwa import DWA
from mtlsweep.losses.equal import Equal
from mtlsweep.losses.haw import HAW
from mtlsweep.losses.haw_reg import HAWReg
from mtlsweep.losses.pcgrad import PCGrad
from mtlsweep.losses.uncertainty import Uncertainty
from mtlsweep.settings import build

OPTIONS = sorted(FOLDER.glob("*.yaml"))
GOLDEN = ROOT.parent / "shared" / "golden" / "gradients.json"


def losses(fine: float = 2.5, coarse: float = 1.2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(fine, requires_grad=True), torch.tensor(coarse, requires_grad=True)


def gram_of(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    both = torch.stack([fine, coarse])
    return both @ both.T


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_every_option_builds_a_strategy_of_its_own_file(path: Path) -> None:
    strategy = build(call_of(path))
    assert isinstance(strategy, Strategy)
    # One of another scope is named for what it becomes by that, and is no class of its own.
    assert type(strategy).__module__ == f"mtlsweep.losses.{path.stem}" or getattr(strategy, "scope", "trunk") != "trunk"


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_yaml_states_every_parameter_at_the_codes_default(path: Path) -> None:
    node = OmegaConf.load(path)
    module, _, name = node._target_.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in COMMON}
    assert {key: value for key, value in node.items() if key not in {"_target_", "defaults", *COMMON}} == own


def test_equal_is_the_sum() -> None:
    assert Equal()(*losses(), 0, 1).item() == pytest.approx(3.7)


def test_uncertainty_at_its_start_and_at_its_minimum() -> None:
    strategy = Uncertainty()
    assert strategy(*losses(), 0, 1).item() == pytest.approx(3.7)
    with torch.no_grad():
        strategy.log_variances.copy_(torch.tensor([2.5, 1.2]).log())
    fine, coarse = losses()
    strategy(fine, coarse, 0, 1).backward()
    assert strategy.log_variances.grad is not None
    torch.testing.assert_close(strategy.log_variances.grad, torch.zeros(2), atol=1e-6, rtol=0)
    assert (fine.grad, coarse.grad) == (pytest.approx(1 / 2.5), pytest.approx(1 / 1.2))


def test_haw_is_uncertainty_of_a_faded_coarse_loss() -> None:
    haw, uncertainty = HAW(beta=3.0), Uncertainty()
    with torch.no_grad():
        for strategy in (haw, uncertainty):
            strategy.log_variances.copy_(torch.tensor([0.3, -0.2]))
    fine, coarse = losses()
    assert haw(fine, coarse, 4, 10).item() == pytest.approx(uncertainty(fine, 0.6**3 * coarse, 4, 10).item())


def test_haw_reg_adds_the_penalty() -> None:
    strategy = HAWReg(strength=0.5)
    with torch.no_grad():
        strategy.log_variances.copy_(torch.tensor([0.3, -0.2]))
    expected = math.exp(-0.3) * 2.5 + 0.3 + 0.36 * math.exp(0.2) * 1.2 - 0.2 + 0.5 * (0.09 + 0.04)
    assert strategy(*losses(), 4, 10).item() == pytest.approx(expected)


def test_atwhc_moves_weight_to_the_smaller_loss() -> None:
    strategy = ATWHC()
    value = strategy(*losses(), 5, 10)
    assert value.item() == pytest.approx(0.5 * 2.5 + 0.25 * 0.5 * 1.2)
    value.backward()
    gradient = strategy.logits.grad
    assert gradient is not None
    assert gradient[0] > 0 > gradient[1]  # descending lowers the fine weight: the published collapse


def test_dwa_is_uniform_for_two_epochs_then_follows_the_ratio_of_means() -> None:
    strategy = DWA(temperature=2.0)
    weights = []
    for means in ([4.0, 3.0], [3.0, 2.9], [2.0, 2.0]):
        fine, coarse = losses()
        strategy(fine, coarse, 0, 1).backward()
        assert fine.grad is not None
        assert coarse.grad is not None
        weights.append((fine.grad.item(), coarse.grad.item()))
        strategy.on_epoch_end(torch.tensor(means))
    assert weights[:2] == [(1.0, 1.0), (1.0, 1.0)]
    fine_share = 1 / (1 + math.exp((2.9 / 3 - 3 / 4) / 2))
    assert weights[2] == (pytest.approx(2 * fine_share), pytest.approx(2 * (1 - fine_share)))


def test_dwa_survives_a_coarse_loss_faded_to_nothing() -> None:
    strategy = DWA()
    for means in ([4.0, 0.0], [3.0, 0.0]):
        strategy.on_epoch_end(torch.tensor(means))
    assert strategy(*losses(), 0, 1).isfinite()


@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_is_the_papers_projection(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    fine, coarse = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    for other in (coarse, -coarse):
        weights = PCGrad().weights(gram_of(fine, other), torch.ones(2), 0, 1)
        combined = weights[0] * fine + weights[1] * other
        product = fine @ other
        expected = fine + other
        if product < 0:
            expected = (fine - product / (other @ other) * other) + (other - product / (fine @ fine) * fine)
        torch.testing.assert_close(combined, expected)


def test_pcgrad_of_zero_gradients_is_their_sum() -> None:
    assert PCGrad().weights(torch.zeros(2, 2), torch.ones(2), 0, 1).tolist() == [1.0, 1.0]


@pytest.mark.skipif(not GOLDEN.exists(), reason="no ../shared/golden")
def test_pcgrad_agrees_with_torchjds_numbers() -> None:
    golden = json.loads(GOLDEN.read_text())
    cases = {case["id"]: case for case in golden["cases"]}
    records = [record for record in golden["records"] if (record["method"], record["library"]) == ("PCGrad", "torchjd")]
    assert records
    for record in records:
        fine, coarse = (torch.tensor(cases[record["case_id"]][name], dtype=torch.float64) for name in ("g1", "g2"))
        weights = PCGrad().weights(gram_of(fine, coarse), torch.ones(2), 0, 1)
        expected = torch.tensor(record["output"], dtype=torch.float64)
        size = max(fine.norm(), coarse.norm())
        assert (weights[0] * fine + weights[1] * coarse - expected).norm() < 1e-9 * size, record["case_id"]


@pytest.mark.parametrize("make", [lambda: DWA(0.0), lambda: HAW(-1.0), lambda: HAWReg(strength=-1.0), lambda: ATWHC(temperature=0.0)])
def test_impossible_parameter_is_refused(make: type[Equal]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
