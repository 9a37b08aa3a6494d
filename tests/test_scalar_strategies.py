"""Loss-only strategies: value and effective weights against formulas worked out here."""

import math
from collections.abc import Callable

import pytest
import torch
from scalar_losses import COARSE, FINE, evaluate, losses_around_steps, warmed_up

from mtlsweep.losses import ScalarStrategy
from mtlsweep.losses.bmtl import BMTL
from mtlsweep.losses.calibrated_exponential import CalibratedExponential
from mtlsweep.losses.constant import Constant
from mtlsweep.losses.coupled_ema import CoupledEMA
from mtlsweep.losses.dwa_batch import DWABatch
from mtlsweep.losses.famo import FAMO
from mtlsweep.losses.gated_valve import GatedValve
from mtlsweep.losses.gls import GLS
from mtlsweep.losses.go4align import GO4Align
from mtlsweep.losses.haw import HAW
from mtlsweep.losses.haw_reg import HAWReg
from mtlsweep.losses.igb import IGB
from mtlsweep.losses.imtl_l import IMTLL
from mtlsweep.losses.log_sum import LogSum
from mtlsweep.losses.mean import Mean
from mtlsweep.losses.rlw import RLW
from mtlsweep.losses.self_fading import SelfFading
from mtlsweep.losses.stch import STCH
from mtlsweep.losses.uncertainty import Uncertainty
from mtlsweep.losses.uncertainty_classification import UncertaintyClassification
from mtlsweep.losses.uncertainty_warmup_cosine import UncertaintyWarmupCosine
from mtlsweep.losses.uw_so import UWSO


def with_log_variances(strategy: Uncertainty, fine: float, coarse: float) -> Uncertainty:
    with torch.no_grad():
        strategy.log_variances.copy_(torch.tensor([fine, coarse]))
    return strategy


# What one step with step size 1/2 makes of the fine task's share of 1/2.
SHARE = 1 / (1 + math.exp((FINE - COARSE) / 2))
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
    pytest.param(
        FAMO(),
        0,
        math.log(FINE * COARSE) * FINE * COARSE / (FINE + COARSE),
        (COARSE / (FINE + COARSE), FINE / (FINE + COARSE)),
        id="famo",
    ),
    pytest.param(
        GO4Align(0.5),
        0,
        FINE + COARSE,
        (SHARE * (FINE + COARSE) / FINE, (1 - SHARE) * (FINE + COARSE) / COARSE),
        id="go4align",
    ),
    pytest.param(IGB(), 0, math.log(FINE * COARSE), (1 / FINE, 1 / COARSE), id="igb-before-the-base"),
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
    pytest.param(
        SelfFading(weight=0.8, power=2.0, fade=3.0),
        6,
        FINE + 0.8 * 0.4**3 * COARSE**3 / 3 / math.log(20) ** 2,
        (1.0, 0.8 * 0.4**3 * (COARSE / math.log(20)) ** 2),
        id="self_fading",
    ),
    pytest.param(SelfFading(weight=0.3, power=0.0, fade=0.0), 6, FINE + 0.3 * COARSE, (1.0, 0.3), id="self_fading-constant"),
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


LEARNED = [Uncertainty, UncertaintyClassification, UncertaintyWarmupCosine, HAW, HAWReg, IMTLL]


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize("gone", [0, 1])
def test_what_is_learned_of_a_loss_that_is_0_stays_where_it_is(make: type[ScalarStrategy], gone: int) -> None:
    """Its share of the sum has no minimum: under a curriculum that ends at 0 the weight would grow until it is infinite."""
    strategy, losses = make(), (0.0 if gone == 0 else FINE, 0.0 if gone == 1 else COARSE)
    optimizer = torch.optim.SGD(strategy.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(500):
        optimizer.zero_grad()
        value, _ = evaluate(strategy, losses, epoch=5)
        optimizer.step()
    (learned,) = strategy.parameters()
    assert math.isfinite(value)
    assert learned[gone] == 0.0
    assert 0 < abs(learned[1 - gone]) < 5


def drawn(seed: int, steps: int = 3, own: bool = True) -> list[list[float]]:
    strategy = RLW()
    if own:
        strategy.generator = torch.Generator().manual_seed(seed)
    else:
        torch.manual_seed(seed)
    return [evaluate(strategy)[1] for _ in range(steps)]


@pytest.mark.parametrize("own", [True, False])
def test_rlw_draws_weights_that_sum_to_one_from_the_runs_stream(own: bool) -> None:
    weights = drawn(5, own=own)
    assert weights == drawn(5, own=own) != drawn(6, own=own)
    assert weights[0] != weights[1]
    assert all(sum(pair) == pytest.approx(1) for pair in weights)


def test_rlw_with_a_generator_of_its_own_leaves_torchs_alone() -> None:
    before = torch.get_rng_state()
    drawn(5)
    assert torch.get_rng_state().equal(before)


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
    ("strategy", "weight"),
    [
        (GLS(), 1),
        (LogSum(), 1 / FINE),
        (warmed_up((2.0, 1.0)), 2 / FINE),
        (UWSO(), 1),
        (FAMO(), 1),
        (GO4Align(0.0), 0.5),
        (IGB(), 1 / FINE),
    ],
)
def test_coarse_loss_of_exactly_nothing_drops_out(strategy: ScalarStrategy, weight: float) -> None:
    for _ in range(3):
        assert evaluate(strategy, (FINE, 0.0), epoch=1)[1][0] == pytest.approx(weight)


def test_go4align_leans_to_the_task_whose_losses_have_been_smaller() -> None:
    strategy = GO4Align(0.5)
    seen = [(FINE, COARSE), (1.0, 3.0)]
    for pair in seen:
        weights = evaluate(strategy, pair)[1]
    fine, coarse = (math.exp(-0.5 * sum(losses)) for losses in zip(*seen, strict=True))
    share = fine / (fine + coarse)
    assert weights == pytest.approx([share * 4.0 / 1.0, (1 - share) * 4.0 / 3.0], rel=1e-6)


def test_go4align_forgets_no_share_however_large_the_losses_were() -> None:
    strategy = GO4Align(1.0)
    for pair in [(1000.0, 1.0)] * 3 + [(1.0, 1000.0)] * 3:
        weights = evaluate(strategy, pair)[1]
    assert weights == pytest.approx([0.5 * 1001 / 1, 0.5 * 1001 / 1000])


def test_igb_weighs_by_what_is_left_to_improve_since_the_base_epoch() -> None:
    strategy = IGB(base_epoch=1)
    for means in ((9.0, 9.0), (5.0, 2.0), (1.0, 1.0)):  # only the second counts
        before = evaluate(strategy)[1]
        strategy.on_epoch_end(torch.tensor(means))
        if means != (1.0, 1.0):
            assert before == pytest.approx([1 / FINE, 1 / COARSE])
    value, weights = evaluate(strategy)
    share = 1 / (1 + math.exp(COARSE / 2 - FINE / 5))
    assert value == pytest.approx(2 * (share * math.log(FINE) + (1 - share) * math.log(COARSE)))
    assert weights == pytest.approx([2 * share / FINE, 2 * (1 - share) / COARSE])


def by_autograd_and_adam(learning_rate: float, weight_decay: float) -> list[list[float]]:
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=learning_rate, weight_decay=weight_decay)
    found = []
    for before, after in losses_around_steps():
        losses = torch.tensor(before, dtype=torch.float64, requires_grad=True)
        shares = torch.softmax(logits, dim=0)
        scale = 1 / (shares / losses).sum()
        ((scale * shares).detach() * losses.log()).sum().backward()
        assert losses.grad is not None
        found.append(losses.grad.tolist())
        fallen = losses.detach().log() - torch.tensor(after, dtype=torch.float64).log()
        (logits.grad,) = torch.autograd.grad(shares, logits, fallen)
        optimizer.step()
    return found


@pytest.mark.parametrize("settings", [(0.025, 1e-3), (0.5, 0.1), (0.1, 0.0)])
def test_famo_is_adam_on_the_softmaxs_logits(settings: tuple[float, float]) -> None:
    strategy = FAMO(*settings)
    found = []
    for before, after in losses_around_steps():
        found.append(evaluate(strategy, before)[1])
        strategy.after_step(torch.tensor(after, dtype=torch.float64))
    torch.testing.assert_close(torch.tensor(found), torch.tensor(by_autograd_and_adam(*settings)), rtol=1e-9, atol=0)
    assert all(sum(weights) == pytest.approx(1) for weights in found)


def test_famo_gives_weight_to_the_task_whose_loss_has_fallen_less() -> None:
    strategy = FAMO()
    before = evaluate(strategy)[1]
    strategy.after_step(torch.tensor([0.5 * FINE, 0.9 * COARSE]))
    assert evaluate(strategy)[1][1] > before[1]


def test_famo_keeps_its_logits_out_of_the_networks_optimizer() -> None:
    assert not list(FAMO().parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: FAMO(learning_rate=0.0),
        lambda: FAMO(weight_decay=-1.0),
        lambda: GO4Align(-1.0),
        lambda: IGB(-1),
        lambda: STCH(mu=0.0),
        lambda: UWSO(math.nan),
        lambda: BMTL(0.0),
        lambda: Constant(-1.0),
        lambda: DWABatch(0.0),
        lambda: CalibratedExponential(calibration_steps=0),
        lambda: GatedValve(momentum=1.0),
        lambda: CoupledEMA(decay=1.0),
        lambda: SelfFading(power=-1.0),
    ],
)
def test_impossible_parameter_is_refused(make: Callable[[], ScalarStrategy]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
