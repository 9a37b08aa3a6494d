"""Loss-only strategies: value and effective weights against formulas worked out here, and against golden numbers."""

import json
import math
from collections.abc import Sequence

import pytest
import torch
from conftest import ROOT

from mtlsweep.losses import ScalarStrategy
from mtlsweep.losses.bmtl import BMTL
from mtlsweep.losses.calibrated_exponential import CalibratedExponential
from mtlsweep.losses.constant import Constant
from mtlsweep.losses.coupled_ema import CoupledEMA
from mtlsweep.losses.dwa import DWA
from mtlsweep.losses.dwa_batch import DWABatch
from mtlsweep.losses.equal import Equal
from mtlsweep.losses.gated_valve import GatedValve
from mtlsweep.losses.gls import GLS
from mtlsweep.losses.imtl_l import IMTLL
from mtlsweep.losses.log_sum import LogSum
from mtlsweep.losses.mean import Mean
from mtlsweep.losses.rlw import RLW
from mtlsweep.losses.stch import STCH
from mtlsweep.losses.uncertainty import Uncertainty
from mtlsweep.losses.uncertainty_classification import UncertaintyClassification
from mtlsweep.losses.uncertainty_warmup_cosine import UncertaintyWarmupCosine
from mtlsweep.losses.uw_so import UWSO

FINE, COARSE = 2.5, 1.2
GOLDEN = ROOT.parent / "shared" / "golden" / "losses.json"


def evaluate(
    strategy: ScalarStrategy, losses: Sequence[float] = (FINE, COARSE), epoch: int = 0, total: int = 10
) -> tuple[float, list[float]]:
    """Value and effective weights."""
    tensors = [torch.tensor(loss, dtype=torch.float64, requires_grad=True) for loss in losses]
    value = strategy.double()(tensors[0], tensors[1], epoch, total)
    value.backward()
    return value.item(), [0.0 if tensor.grad is None else tensor.grad.item() for tensor in tensors]


def with_log_variances(strategy: Uncertainty, fine: float, coarse: float) -> Uncertainty:
    with torch.no_grad():
        strategy.log_variances.copy_(torch.tensor([fine, coarse]))
    return strategy


def warmed_up(*epochs: Sequence[float], mu: float = 1.0) -> STCH:
    strategy = STCH(mu=mu, warmup_epochs=len(epochs) - 1)
    for means in epochs:
        strategy.on_epoch_end(torch.tensor(means))
    return strategy


SOFT = [math.exp(1 / FINE), math.exp(1 / COARSE)]
CASES = [
    pytest.param(Mean(), 0, (FINE + COARSE) / 2, (0.5, 0.5), id="mean"),
    pytest.param(Constant(2.0, 0.3), 0, 2 * FINE + 0.3 * COARSE, (2.0, 0.3), id="constant"),
    pytest.param(
        with_log_variances(UncertaintyClassification(), 0.4, -0.6),
        0,
        math.exp(-0.4) * FINE + 0.2 + math.exp(0.6) * COARSE - 0.3,
        (math.exp(-0.4), math.exp(0.6)),
        id="uncertainty_classification",
    ),
    pytest.param(IMTLL(), 0, FINE + COARSE, (1.0, 1.0), id="imtl_l"),
    pytest.param(GLS(), 0, math.sqrt(FINE * COARSE), (math.sqrt(COARSE / FINE) / 2, math.sqrt(FINE / COARSE) / 2), id="gls"),
    pytest.param(LogSum(), 0, math.log(FINE * COARSE), (1 / FINE, 1 / COARSE), id="log_sum"),
    pytest.param(UWSO(), 0, (SOFT[0] * FINE + SOFT[1] * COARSE) / sum(SOFT), (SOFT[0] / sum(SOFT), SOFT[1] / sum(SOFT)), id="uw_so"),
    pytest.param(
        BMTL(2.0),
        0,
        2 * (math.exp(FINE / 2) + math.exp(COARSE / 2)),
        (math.exp(FINE / 2), math.exp(COARSE / 2)),
        id="bmtl",
    ),
    pytest.param(STCH(), 0, math.log(FINE * COARSE), (1 / FINE, 1 / COARSE), id="stch-warm-up"),
    pytest.param(
        warmed_up((9.0, 9.0), (4.0, 3.0)),
        2,
        2 * math.log(FINE / 4 + COARSE / 3),
        (2 / 4 / (FINE / 4 + COARSE / 3), 2 / 3 / (FINE / 4 + COARSE / 3)),
        id="stch",
    ),
    pytest.param(
        with_log_variances(UncertaintyWarmupCosine(), 0.4, -0.6),
        6,
        math.exp(-0.4) * FINE + 0.4 + (0.1 + 0.45 * (1 + math.cos(math.pi * 0.45 / 0.85))) * (math.exp(0.6) * COARSE - 0.6),
        (math.exp(-0.4), (0.1 + 0.45 * (1 + math.cos(math.pi * 0.45 / 0.85))) * math.exp(0.6)),
        id="uncertainty_warmup_cosine",
    ),
    pytest.param(
        CalibratedExponential(),
        6,
        FINE + (0.08 + 0.62 * math.exp(-1.8)) * FINE,  # the first step: r = L_f / L_c
        (1.0, (0.08 + 0.62 * math.exp(-1.8)) * FINE / COARSE),
        id="calibrated_exponential",
    ),
    pytest.param(
        GatedValve(),
        6,
        (2 - (1 + math.cos(0.6 * math.pi)) / 2) * FINE + (1 + math.cos(0.6 * math.pi)) / 2 * COARSE,  # both losses at their averages
        (2 - (1 + math.cos(0.6 * math.pi)) / 2, (1 + math.cos(0.6 * math.pi)) / 2),
        id="gated_valve",
    ),
    pytest.param(
        CoupledEMA(),
        6,
        FINE + 0.9 * (0.1 + 0.9 * 0.16) * 1.25 * COARSE,
        (1 + 0.9 * (0.1 + 0.9 * 0.16) * 0.25 / FINE * COARSE, 0.9 * (0.1 + 0.9 * 0.16) * 1.25),
        id="coupled_ema",
    ),
]


@pytest.mark.parametrize(("strategy", "epoch", "value", "weights"), CASES)
def test_value_and_effective_weights_are_the_formulas(
    strategy: ScalarStrategy, epoch: int, value: float, weights: tuple[float, float]
) -> None:
    found, derivatives = evaluate(strategy, epoch=epoch)
    assert found == pytest.approx(value, rel=1e-6)
    assert derivatives == pytest.approx(list(weights), rel=1e-6)


def test_imtl_l_trains_as_uncertainty_does() -> None:
    strategies = [IMTLL(), Uncertainty()]
    optimizers = [torch.optim.SGD(strategy.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4) for strategy in strategies]
    for _ in range(20):
        found = [evaluate(strategy) for strategy in strategies]
        assert found[0][1] == pytest.approx(found[1][1])
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_rlw_draws_weights_that_sum_to_one_from_the_runs_stream() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        strategy = RLW()
        drawn.append([evaluate(strategy)[1] for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]
    assert all(sum(weights) == pytest.approx(1) for weights in drawn[0])


def test_dwa_batch_is_uniform_in_the_first_epoch_then_follows_the_last_step() -> None:
    strategy = DWABatch(temperature=2.0)
    assert evaluate(strategy, (4.0, 3.0), epoch=0)[1] == [1.0, 1.0]
    share = 1 / (1 + math.exp((COARSE / 3 - FINE / 4) / 2))
    assert evaluate(strategy, epoch=1)[1] == pytest.approx([2 * share, 2 * (1 - share)], rel=1e-6)


def test_calibration_ends_after_its_steps_and_is_at_least_one() -> None:
    strategy = CalibratedExponential(floor=1.0, span=0.0, calibration_steps=2)
    for losses in ((4.0, 2.0), (4.0, 1.0), (100.0, 1.0)):
        weights = evaluate(strategy, losses)[1]
    assert weights == pytest.approx([1.0, 3.0])
    assert evaluate(CalibratedExponential(floor=1.0, span=0.0), (1.0, 4.0))[1] == [1.0, 1.0]


def test_valve_closes_when_a_loss_rises_above_its_average() -> None:
    strategy = GatedValve()
    evaluate(strategy, (2.0, 1.0))
    assert evaluate(strategy, (2.0, 1.5))[1] == pytest.approx([2 - math.exp(-1.5), math.exp(-1.5)], rel=1e-5)
    averages = strategy.averages.tolist()
    assert averages == pytest.approx([2.0, 0.95 + 0.05 * 1.5])


def test_coupled_emas_guide_follows_the_averages() -> None:
    strategy = CoupledEMA(coupling=0.0)
    evaluate(strategy, (2.0, 1.0))
    fine, coarse = 0.9 + 0.1 * 0.5, 0.9 + 0.1 * 0.2
    guide = (fine + math.sqrt(fine * coarse)) / 2
    assert evaluate(strategy, (1.0, 0.2))[1] == pytest.approx([1.0, 0.9 * guide], rel=1e-6)


@pytest.mark.parametrize(
    "strategy", [GLS(), LogSum(), warmed_up((2.0, 1.0)), STCH(), UWSO(), DWABatch(), BMTL(), CoupledEMA(), GatedValve(), DWA()]
)
def test_coarse_loss_faded_to_nothing_leaves_the_fine_loss(strategy: ScalarStrategy) -> None:
    for _ in range(3):
        value, weights = evaluate(strategy, (FINE, 0.0), epoch=1)
        assert math.isfinite(value)
        assert all(map(math.isfinite, weights))


@pytest.mark.parametrize("strategy", [GLS(), LogSum(), STCH()])
def test_scale_of_the_coarse_loss_does_not_change_the_direction(strategy: ScalarStrategy) -> None:
    """In terms of the unscaled coarse loss: its weight is the derivative by the scaled one, times the scale."""
    whole, faded = (evaluate(strategy, (FINE, scale * COARSE))[1] for scale in (1.0, 0.01))
    assert 0.01 * faded[1] / faded[0] == pytest.approx(whole[1] / whole[0])


SAME_AS_GOLDEN = {
    ("Sum", "{}"): lambda: Equal(),
    ("Mean", "{}"): lambda: Mean(),
    ("Constant", '{"weights": [1, 0.3]}'): lambda: Constant(1.0, 0.3),
    ("GeometricMean (GLS)", "{}"): lambda: GLS(),
    ("IMTL-L", '{"log_scale": [0, 0]}'): lambda: IMTLL(),
}


@pytest.mark.skipif(not GOLDEN.exists(), reason="no ../shared/golden")
def test_values_are_torchjds() -> None:
    """Not compared: UW (TorchJD halves both terms), STCH (another normalisation: LibMTL's here), DWA and FAMO (they have a history)."""
    compared = 0
    for record in json.loads(GOLDEN.read_text())["records"]:
        make = SAME_AS_GOLDEN.get((record["method"], json.dumps(record["hyperparameters"])))
        if make is None or 0.0 in record["losses"]:  # at 0 GLS's derivative is infinite, and this package's is defined otherwise
            continue
        value, weights = evaluate(make(), record["losses"])
        assert value == pytest.approx(record["value"], rel=1e-6)
        assert weights == pytest.approx(record["dvalue_dlosses"], rel=1e-6)
        compared += 1
    assert compared >= 20
