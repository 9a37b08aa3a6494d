"""What every scalar strategy of the registry has to satisfy, over several steps and epochs."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mtlsweep.catalogue import OPTIONS, call_of
from mtlsweep.losses import ScalarStrategy
from mtlsweep.settings import build

STEPS = 2  # an epoch
EPOCHS = 10
# Falling losses for seven epochs: past every warm-up.
FALLING = [(2.5 * 0.9**step, 1.2 * 0.85**step) for step in range(14)]


def make(name: str) -> Any:
    strategy = build(call_of(OPTIONS / f"{name}.yaml"))
    strategy.generator = torch.Generator().manual_seed(1)
    return strategy


EVERY = [path.stem for path in sorted(OPTIONS.glob("*.yaml"))]
SCALAR = [name for name in EVERY if isinstance(make(name), ScalarStrategy)]


def walk(strategy: Any, losses: Sequence[tuple[float, float]], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The effective weights `(steps, 2)` as in training; what is computed on the way has to be finite."""
    strategy.to(dtype)
    parameters = list(strategy.parameters())
    found = []
    for step, pair in enumerate(losses):
        fine, coarse = (torch.tensor(loss, dtype=dtype, requires_grad=True) for loss in pair)
        value = strategy(fine, coarse, step // STEPS, EPOCHS)
        gradients = torch.autograd.grad(value, [fine, coarse, *parameters], allow_unused=True)
        assert value.shape == ()
        assert all(tensor.isfinite().all() for tensor in (value, *gradients) if tensor is not None)
        found.append([0.0 if weight is None else weight.item() for weight in gradients[:2]])
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients[2:], strict=True):
                if gradient is not None:
                    parameter.sub_(gradient, alpha=0.1)
        finish(strategy, pair, step, dtype)
    return torch.tensor(found, dtype=dtype)


def finish(strategy: Any, pair: tuple[float, float], step: int, dtype: torch.dtype) -> None:
    """What follows the optimizer's step: the losses fall, the fine one more; every second step ends an epoch."""
    if hasattr(strategy, "after_step"):
        strategy.after_step(torch.tensor([0.9 * pair[0], 0.95 * pair[1]], dtype=dtype))
    if step % STEPS == STEPS - 1 and hasattr(strategy, "on_epoch_end"):
        strategy.on_epoch_end(torch.tensor(pair, dtype=dtype))


@pytest.mark.parametrize("coarse", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("fine", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("name", SCALAR)
def test_value_and_gradients_are_finite_step_after_step(name: str, fine: float, coarse: float) -> None:
    walk(make(name), [(fine, coarse)] * 14, torch.float32)
    walk(make(name), [(fine, coarse), (coarse, fine)] * 7, torch.float32)


@pytest.mark.parametrize("faded_from", [0, 3])
@pytest.mark.parametrize("name", SCALAR)
def test_fine_loss_is_minimised_when_the_coarse_one_has_been_faded_to_nothing(name: str, faded_from: int) -> None:
    faded = [(fine, coarse * (step < faded_from)) for step, (fine, coarse) in enumerate(FALLING)]
    assert (walk(make(name), faded, torch.float32)[:, 0] > 0).all()


@pytest.mark.parametrize("name", ["famo", "go4align", "igb", "log_sum", "gls", "stch", "uw_so"])
def test_finite_where_both_losses_are_nothing(name: str) -> None:
    walk(make(name), [*FALLING, (0.0, 0.0), (0.0, 0.0)], torch.float32)


@pytest.mark.parametrize("name", SCALAR)
def test_nan_is_not_hidden(name: str) -> None:
    value = make(name)(torch.tensor(torch.nan), torch.tensor(torch.nan), 6, EPOCHS)
    assert value.isnan()


def direction(strategy: Any, factors: Sequence[float]) -> torch.Tensor:
    """Ratio of the weights of coarse and fine gradient, `(steps,)`, each step's coarse loss being multiplied by its factor first."""
    scaled = [(fine, factor * coarse) for (fine, coarse), factor in zip(FALLING, factors, strict=True)]
    weights = walk(strategy, scaled)
    return weights[:, 1] * torch.tensor(factors, dtype=weights.dtype) / weights[:, 0]


@pytest.mark.parametrize("name", SCALAR)
def test_scale_invariant_strategies_are_those_whose_direction_no_fade_changes(name: str) -> None:
    whole, faded = (direction(make(name), factors) for factors in ([1.0] * 14, [0.5 * 0.8**step for step in range(14)]))
    assert torch.allclose(faded, whole, rtol=1e-6, atol=0) == make(name).scale_invariant


@pytest.mark.parametrize("name", ["igb", "stch", "calibrated_exponential"])
def test_a_constant_factor_cancels_where_the_docstring_says_so(name: str) -> None:
    whole, scaled = (direction(make(name), [factor] * 14) for factor in (1.0, 0.5))
    torch.testing.assert_close(scaled, whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", sorted({*SCALAR} - {"equal", "log_sum"}))
def test_warm_up_is_the_epochs_in_which_a_strategy_is_another(name: str) -> None:
    uneven = [(fine * (1.5 if step % 2 else 1.0), coarse) for step, (fine, coarse) in enumerate(FALLING)]
    weights, *others = (walk(make(each), uneven).unflatten(0, (-1, STEPS)) for each in (name, "equal", "log_sum"))
    same = torch.isclose(weights, torch.stack(others), rtol=1e-9, atol=0).all(dim=(2, 3)).any(dim=0)
    assert same.long().cumprod(0).sum() == make(name).warm_up()


@pytest.mark.parametrize("name", SCALAR)
def test_marked_capturable_reads_no_value_from_the_device(name: str) -> None:
    # A tensor without data raises where its value is asked for: by `item`, `cpu`, `tolist` or an `if`.
    assert make(name).capturable
    run_without_data(make(name).to("meta"), torch.device("meta"))
    with FakeTensorMode():
        run_without_data(make(name), torch.device("cpu"))


def run_without_data(strategy: Any, device: torch.device) -> None:
    strategy.generator = None
    for step in range(4):
        fine, coarse = (torch.empty((), device=device, requires_grad=True) for _ in range(2))
        value = strategy(fine, coarse, step // STEPS, EPOCHS)
        value.backward()
        assert value.shape == ()
        if hasattr(strategy, "after_step"):
            strategy.after_step(torch.empty(2, device=device))
        if step % STEPS and hasattr(strategy, "on_epoch_end"):
            strategy.on_epoch_end(torch.empty(2, device=device))


@pytest.mark.parametrize("name", SCALAR)
def test_state_stays_where_it_is_and_survives_a_checkpoint(name: str) -> None:
    first, second = make(name), make(name)
    first.double()  # here, as `walk` would move it
    places = {key: value.data_ptr() for key, value in first.state_dict().items()}
    walk(first, FALLING[:8])
    assert {key: value.data_ptr() for key, value in first.state_dict().items()} == places
    second.double().load_state_dict(first.state_dict())
    for strategy in (first, second):
        strategy.generator.manual_seed(2)
    # The test's own count of epochs starts anew: past it, both go on from the same state.
    assert walk(second, FALLING).equal(walk(first, FALLING))


@pytest.mark.parametrize("name", SCALAR)
def test_docstrings_state_cost_state_and_scale(name: str) -> None:
    strategy = make(name)
    text = type(strategy).__doc__
    assert text is not None
    assert f"Cost: {2 if hasattr(strategy, 'after_step') else 1} forward, 1 backward pass" in text
    assert ("No state" in text) == (not strategy.state_dict())
    assert "coarse loss" in text.lower()
    first_line = (sys.modules[type(strategy).__module__].__doc__ or "").splitlines()[0]
    assert "arXiv:" in first_line or "no arXiv number" in first_line or name in {"fine_only", "equal", "mean", "constant"}
