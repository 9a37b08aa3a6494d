"""Gradient strategies: properties they all have, their formulas in plain NumPy, golden numbers and TorchJD."""

import io
import json
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from known_disagreements import OF_GRADIENTS
from test_gram import GOLDEN, pair, special_pairs
from torch._subclasses.fake_tensor import FakeTensorMode

from mtlsweep.catalogue import call_of
from mtlsweep.errors import UserError
from mtlsweep.losses import GradientStrategy
from mtlsweep.settings import build, check_call
from mtlsweep.train import checkpoint

torch.set_num_threads(1)

DTYPES = [torch.float64, torch.float32]
OPTIONS = ROOT / "conf" / "loss"
GRADIENT = [path.stem for path in sorted(OPTIONS.glob("*.yaml")) if isinstance(build(call_of(path)), GradientStrategy)]
LOSSES = (2.5, 1.2)


def make(name: str, **settings: Any) -> Any:
    return build(check_call(call_of(OPTIONS / f"{name}.yaml") | settings, "loss"))


def step(strategy: GradientStrategy, gradients: torch.Tensor, losses: tuple[float, float] = LOSSES) -> tuple[torch.Tensor, torch.Tensor]:
    return strategy.combine(gradients[0], gradients[1], torch.tensor(losses, dtype=gradients.dtype, device=gradients.device), 1, 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy_steps(count: int = 20, dtype: torch.dtype = torch.float64) -> Iterator[tuple[torch.Tensor, tuple[float, float]]]:
    """Gradients `(2, 50)` that keep a direction and lose in length, as in training, and losses that fall."""
    random = generator(1)
    steady = pair(1.0, 0.4, -0.3)
    for k in range(count):
        noise = 0.2 * torch.randn(2, 50, dtype=torch.float64, generator=random)
        yield ((steady + noise) / (1 + 0.1 * k)).to(dtype), (4.6 / (1 + 0.2 * k), 3.0 / (1 + 0.1 * k))


def test_the_registry_has_them() -> None:
    assert set(GRADIENT) >= {"graddrop", "moco", "db_mtl", "excess_mtl"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENT)
def test_finite_at_every_scale_and_from_one_scale_to_another(name: str, dtype: torch.dtype) -> None:
    special = special_pairs(dtype)
    for gradients in special.values():
        strategy = make(name)
        # The pair's own state, then what it does to ordinary gradients and these to it.
        for seen in (gradients, gradients, special["orthogonal"], gradients):
            update, weights = step(strategy, seen)
            assert (update.shape, weights.shape) == ((50,), (2,))
            assert (update.dtype, weights.dtype, update.requires_grad) == (dtype, dtype, False)
            assert update.isfinite().all()
            assert weights.isfinite().all()
            assert (weights >= 0).all()


# The first update as a multiple of the unit vector that is both gradients, the fine, the fine and the coarse one: the docstrings' limits.
LIMITS = {
    "graddrop": (2, None, 1, 1),
    "moco": (0.1, 0, 0.1 * (0.5 - 0.1 * 0.1**2 / 4), 0.1 * (0.5 - 0.1 * 0.1**2 / 4)),
    "db_mtl": (0.1 * 2 / 1.2, 0, 0.1 / 2.5, 0.1 / 1.2),
    "excess_mtl": (2, 0, 1, 1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENT)
def test_limits_are_those_of_the_docstring(name: str, dtype: torch.dtype) -> None:
    special = special_pairs(dtype)
    unit = special["identical"][0]
    for case, expected in zip(("identical", "opposite", "coarse zero", "fine zero"), LIMITS[name], strict=True):
        if expected is not None:
            update, _ = step(make(name), special[case])
            torch.testing.assert_close(update, expected * unit, atol=10 * torch.finfo(dtype).eps, rtol=0, msg=f"{name}, {case}")
    update, _ = step(make(name), special["both zero"])
    assert not update.any()


@pytest.mark.parametrize("name", GRADIENT)
def test_no_value_leaves_the_device(name: str) -> None:
    # A tensor without data raises where its value is asked for: by `item`, `cpu`, `tolist` or an `if`.
    strategy = make(name).to("meta")
    for _ in range(2):
        assert step(strategy, torch.empty(2, 50, device="meta"))[0].shape == (50,)
    with FakeTensorMode():
        strategy = make(name)
        for _ in range(2):
            assert step(strategy, torch.empty(2, 50))[0].shape == (50,)


@pytest.mark.parametrize("name", GRADIENT)
def test_gradients_and_past_results_are_left_alone_and_the_state_stays_where_it_is(name: str) -> None:
    strategy = make(name)
    (one, _), (two, _) = noisy_steps(2)
    given = one.clone()
    update, weights = step(strategy, one)
    kept = update.clone(), weights.clone()
    places = {key: value.data_ptr() for key, value in strategy.named_buffers()}
    step(strategy, two)
    assert one.equal(given)
    assert (update.equal(kept[0]), weights.equal(kept[1])) == (True, True)
    assert {key: value.data_ptr() for key, value in strategy.named_buffers()} == places


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENT)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    straight, before, after = make(name), make(name), make(name)
    steps = list(noisy_steps(8, dtype))
    for each in steps[:5]:
        step(straight, *each)
        step(before, *each)
    checkpoint.restore_strategy(after, written_and_read(before))
    torch.manual_seed(3)  # as at the start of an epoch
    expected = [step(straight, *each) for each in steps[5:]]
    torch.manual_seed(3)
    for each, (update, weights) in zip(steps[5:], expected, strict=True):
        if name != "graddrop":
            assert not step(make(name), *each)[0].equal(update)  # without its past
        got = step(after, *each)
        assert (got[0].equal(update), got[1].equal(weights)) == (True, True)


def written_and_read(strategy: GradientStrategy) -> dict[str, Any]:
    assert checkpoint.unsaved(strategy, checkpoint.parts(strategy)) == []
    model = torch.nn.Linear(1, 1)
    trainer: Any = SimpleNamespace(model=model, strategy=strategy, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    file = io.BytesIO()
    checkpoint.save(file, trainer, checkpoint.Progress([], {}))
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("name", GRADIENT)
def test_only_what_is_said_to_be_so_ignores_the_coarse_losss_scale(name: str) -> None:
    plain, faded = make(name), make(name)
    cosines = []
    for k, (gradients, (fine_loss, coarse_loss)) in enumerate(noisy_steps(5)):
        factor = 0.3**k
        scaled = gradients * torch.tensor([[1.0], [factor]], dtype=torch.float64)
        torch.manual_seed(k)  # the same draws for both
        one, _ = step(plain, gradients, (fine_loss, coarse_loss))
        torch.manual_seed(k)
        other, _ = step(faded, scaled, (fine_loss, factor * coarse_loss))
        cosines.append(torch.cosine_similarity(one, other, dim=0))
    assert (min(cosines) > 1 - 1e-12) == plain.scale_invariant


# Each formula again, in NumPy and as the paper writes it: from settings to a step that keeps its own state.
Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def graddrop_formula(fine_leak: float, coarse_leak: float) -> Formula:
    def step(gradients: np.ndarray, losses: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        purity = (1 + gradients.sum(0) / np.abs(gradients).sum(0)) / 2
        masks = (purity > uniform) * (gradients > 0) + (purity < uniform) * (gradients < 0)
        leaks = np.array([[fine_leak], [coarse_leak]])
        kept = (leaks + (1 - leaks) * masks) * gradients
        return kept.sum(0), (kept * gradients).sum(1) / (gradients**2).sum(1)

    return step


def moco_formula(tracking: float, tracking_power: float, rate: float, rate_power: float, decay: float) -> Formula:
    averages, weights, k = np.zeros((2, 50)), np.full(2, 0.5), 0

    def step(gradients: np.ndarray, losses: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal averages, weights, k
        k += 1
        averages = averages - tracking / k**tracking_power * (averages - gradients)
        weights = on_simplex(weights - rate / k**rate_power * (averages @ averages.T + decay * np.eye(2)) @ weights)
        return averages.T @ weights, weights

    return step


def on_simplex(point: np.ndarray) -> np.ndarray:
    """The nearest point whose entries are at least 0 and sum to 1, for any number of entries."""
    descending = np.sort(point)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, len(point) + 1)
    return np.maximum(point - excess[np.nonzero(descending > excess)[0][-1]], 0)


def db_mtl_formula(memory: float, memory_power: float) -> Formula:
    averages, k = np.zeros((2, 50)), 0

    def step(gradients: np.ndarray, losses: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal averages, k
        k += 1
        past = memory / k**memory_power
        averages = past * averages + (1 - past) * gradients / losses[:, None]
        lengths = np.linalg.norm(averages, axis=1)
        return (lengths.max() * averages / lengths[:, None]).sum(0), lengths.max() / lengths / losses

    return step


def excess_mtl_formula(rate: float) -> Formula:
    seen: list[np.ndarray] = []
    ratios: list[np.ndarray] = []
    first = np.ones(2)

    def step(gradients: np.ndarray, losses: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal first
        seen.append(gradients)
        risks = (gradients**2 / np.sqrt((np.array(seen) ** 2).sum(0))).sum(1)
        first = risks if len(seen) == 1 else first
        ratios.append(risks / first)
        weights = np.exp(rate * np.array(ratios)[1:].sum(0))
        return 2 * weights / weights.sum() @ gradients, 2 * weights / weights.sum()

    return step


FORMULAS: list[tuple[str, Callable[..., Formula], dict[str, float]]] = [
    ("graddrop", graddrop_formula, {"fine_leak": 0.0, "coarse_leak": 0.0}),
    ("graddrop", graddrop_formula, {"fine_leak": 1.0, "coarse_leak": 0.25}),
    ("moco", moco_formula, {"tracking": 0.1, "tracking_power": 0.5, "rate": 0.1, "rate_power": 0.5, "decay": 0.0}),
    ("moco", moco_formula, {"tracking": 0.9, "tracking_power": 0.0, "rate": 2.0, "rate_power": 0.1, "decay": 0.1}),
    ("db_mtl", db_mtl_formula, {"memory": 0.9, "memory_power": 0.0}),
    ("db_mtl", db_mtl_formula, {"memory": 0.5, "memory_power": 0.5}),
    ("excess_mtl", excess_mtl_formula, {"rate": 0.01}),
    ("excess_mtl", excess_mtl_formula, {"rate": 1.0}),
]


@pytest.mark.parametrize(("name", "create", "settings"), FORMULAS)
def test_as_the_formula_in_numpy_over_many_steps(name: str, create: Callable[..., Formula], settings: dict[str, float]) -> None:
    strategy, single, formula = make(name, **settings), make(name, **settings), create(**settings)
    strategy.generator, single.generator, drawn = generator(), generator(), generator()
    for gradients, losses in noisy_steps(20):
        uniform = torch.rand(50, generator=drawn, dtype=torch.float64)
        update, weights = step(strategy, gradients, losses)
        expected, expected_weights = formula(gradients.numpy(), np.array(losses), uniform.numpy())
        np.testing.assert_allclose(update, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(weights, expected_weights, rtol=1e-12, atol=1e-14)
        # In float32 other numbers are drawn.
        if name != "graddrop":
            np.testing.assert_allclose(step(single, gradients.float(), losses)[0], expected, rtol=1e-4, atol=1e-5)


def test_every_gradient_strategy_has_a_formula_and_its_defaults_are_tested() -> None:
    assert {name for name, _, _ in FORMULAS} == set(GRADIENT)
    for name in GRADIENT:
        assert any(make(name).__dict__.items() >= settings.items() for other, _, settings in FORMULAS if other == name)


def test_graddrop_draws_from_its_generator_and_is_the_sum_on_average() -> None:
    gradients = pair(1.0, 0.7, -0.5)
    random = generator(5)
    strategy, again = make("graddrop"), make("graddrop")
    strategy.generator = random
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draws = torch.stack([step(strategy, gradients)[0] for _ in range(4000)])
    assert torch.get_rng_state().equal(before)
    again.generator = generator(5)
    assert step(again, gradients)[0].equal(draws[0])
    assert not step(again, gradients)[0].equal(draws[0])
    errors = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - gradients.sum(0)).abs() <= 5 * errors + 1e-12).all()


def test_graddrop_keeps_one_sign_in_each_coordinate_and_drops_nothing_without_a_conflict() -> None:
    gradients = pair(1.0, 0.7, -0.5)
    update, weights = step(make("graddrop"), gradients)
    agree = gradients[0] * gradients[1] > 0
    assert update[agree].equal(gradients.sum(0)[agree])
    assert (update[~agree, None] == gradients.T[~agree]).any(1).all()
    assert ((weights > 0) & (weights < 1)).all()
    one = pair(1.0, 1.0, 0.0)[0]
    assert step(make("graddrop"), torch.stack([one, -one]))[0].abs().equal(one.abs())
    leaking, all_kept = step(make("graddrop", fine_leak=1.0, coarse_leak=1.0), gradients)
    assert leaking.equal(gradients.sum(0))
    assert all_kept.tolist() == [1.0, 1.0]


def test_moco_arrives_at_mgda_where_the_gradients_stay() -> None:
    gradients = pair(1.0, 2.0, 0.1)
    strategy = make("moco", tracking_power=0.0, rate_power=0.0)
    for _ in range(500):
        update, weights = step(strategy, gradients)
    torch.testing.assert_close(weights @ gradients, update)
    torch.testing.assert_close(update, weights @ gradients)
    # The shortest convex combination has the same product with both.
    torch.testing.assert_close(gradients[0] @ update, gradients[1] @ update)


def test_db_mtl_gives_both_averages_one_length_and_settles_at_its_weights() -> None:
    gradients = pair(1.0, 1e-3, 0.2)
    strategy = make("db_mtl")
    for _ in range(400):
        update, weights = step(strategy, gradients)
    torch.testing.assert_close(update, weights @ gradients)
    lengths = weights * gradients.norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 1 / 2.5, dtype=torch.float64))


def test_db_mtl_forgets_a_coarse_loss_that_has_been_faded_out() -> None:
    strategy, alone = make("db_mtl"), make("db_mtl")
    gradients = pair(1.0, 0.5, 0.2)
    fine_only = gradients * torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    step(strategy, gradients)
    step(alone, fine_only, (2.5, 0.0))
    update, weights = step(strategy, fine_only, (2.5, 0.0))
    expected, _ = step(alone, fine_only, (2.5, 0.0))
    assert update.equal(expected)
    assert weights.tolist() == pytest.approx([1 / 2.5, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_db_mtl_stays_finite_while_an_average_vanishes(dtype: torch.dtype) -> None:
    strategy = make("db_mtl", memory=0.1)
    gradients = pair(1.0, 1.0, 0.2, dtype)
    step(strategy, gradients)
    for _ in range(400):
        update, weights = step(strategy, gradients * torch.tensor([[1.0], [0.0]], dtype=dtype))
        assert update.isfinite().all()
        assert weights.isfinite().all()
    torch.testing.assert_close(update, gradients[0] / 2.5)


def test_excess_mtl_waits_for_the_first_gradient_of_both_and_favours_what_stays_behind() -> None:
    strategy = make("excess_mtl", rate=0.1)
    gradients = pair(1.0, 0.5, 0.2)
    off, fading = torch.tensor([[[1.0], [0.0]], [[0.1], [1.0]]], dtype=torch.float64)
    for _ in range(3):
        assert step(strategy, off * gradients)[1].tolist() == [1.0, 1.0]
    step(strategy, gradients)
    _, weights = step(strategy, fading * gradients)
    assert weights[1] > weights[0]
    assert float(weights.sum()) == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(5))
def test_graddrop_is_torchjds_with_the_same_random_numbers(seed: int) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation")
    for leaks in ([0.0, 0.0], [1.0, 0.3]):
        gradients = pair(1.0, 0.7, -0.5, seed=seed)
        strategy = make("graddrop", fine_leak=leaks[0], coarse_leak=leaks[1])
        strategy.generator = generator(seed)
        torch.manual_seed(seed)
        theirs = aggregation.GradDrop(leak=torch.tensor(leaks, dtype=torch.float64))(gradients)
        torch.testing.assert_close(step(strategy, gradients)[0], theirs)


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_excess_mtl_is_torchjds_with_one_warm_up_step(rate: float) -> None:
    theirs = pytest.importorskip("torchjd.aggregation").ExcessMTL(robust_step_size=rate, n_warmup_steps=1)
    strategy = make("excess_mtl", rate=rate)
    for gradients, losses in noisy_steps(20):
        gradients = 1e4 * gradients  # entries beside which its 1e-7 is small
        update, _ = step(strategy, gradients, losses)
        assert (update - 2 * theirs(gradients)).norm() < 1e-8 * update.norm()


@pytest.mark.skipif(not GOLDEN.exists(), reason="no ../shared/golden")
@pytest.mark.parametrize(("library", "method"), [("LibMTL", "DB-MTL"), ("LibMTL", "ExcessMTL"), *OF_GRADIENTS])
def test_golden_numbers_agree_given_what_is_known_of_the_library(library: str, method: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    cases = {case["id"]: torch.tensor([case["g1"], case["g2"]], dtype=torch.float64) for case in golden["cases"]}
    records = [record for record in golden["records"] if (record["library"], record["method"]) == (library, method)]
    assert len(records) == len(cases)
    for record in records:
        gradients, expected = cases[record["case_id"]], torch.tensor(record["output"], dtype=torch.float64)
        ours = as_library(library, method, gradients)
        # The libraries add 1e-8 to lengths, 1e-7 to sums of squares.
        assert (ours - expected).norm() <= 2e-5 * gradients.norm(), record["case_id"]


def as_library(library: str, method: str, gradients: torch.Tensor) -> torch.Tensor:
    if (library, method) == ("torchjd", "ExcessMTL"):
        strategy = make("excess_mtl")
        step(strategy, gradients)
        return torch.softmax(strategy.first_risks, 0) @ gradients
    if method == "MoCo":
        strategy = make("moco", tracking=0.5)
        units = gradients / (gradients.norm(dim=1, keepdim=True) + 1e-8) * torch.tensor([[2.5], [1.2]], dtype=torch.float64)
        step(strategy, units)
        half = torch.full((2,), 0.5, dtype=torch.float64)
        return torch.softmax(half - 0.1 * strategy.averages @ strategy.averages.T @ half, 0) @ strategy.averages
    return step(make({"DB-MTL": "db_mtl", "ExcessMTL": "excess_mtl"}[method]), gradients)[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("graddrop", {"fine_leak": -0.1}),
        ("graddrop", {"coarse_leak": 1.5}),
        ("moco", {"tracking": 0.0}),
        ("moco", {"tracking": 1.5}),
        ("moco", {"rate": 0.0}),
        ("moco", {"rate_power": -1.0}),
        ("moco", {"decay": -1.0}),
        ("db_mtl", {"memory": 1.0}),
        ("db_mtl", {"memory_power": -1.0}),
        ("excess_mtl", {"rate": 0.0}),
        *[(name, {"scope": "representation"}) for name in GRADIENT],
        *[(name, {"refresh": 2}) for name in GRADIENT],
    ],
)
def test_impossible_parameter_is_refused_in_one_line(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be") as error:
        make(name, **settings)
    assert "\n" not in str(error.value)
