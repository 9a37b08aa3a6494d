import math

import pytest

from mtlsweep.curriculum import Constant, Cosine, Exponential, Polynomial, Step

FADES = [
    Polynomial(1.0),
    Polynomial(2.0, floor=0.1),
    Cosine(),
    Cosine(warmup=0.15, floor=0.1),
    Exponential(3.0),
    Exponential(3.0, floor=0.2),
    Step(0.5, floor=0.1),
]


@pytest.mark.parametrize("fade", FADES)
def test_fade_starts_at_start_and_never_rises(fade: Polynomial | Cosine | Exponential | Step) -> None:
    values = [fade(epoch, 200) for epoch in range(200)]
    assert values[0] == 1.0
    assert values == sorted(values, reverse=True)
    assert min(values) >= fade.floor


def test_constant_is_constant() -> None:
    assert {Constant(0.3)(epoch, 10) for epoch in range(10)} == {0.3}


def test_step_falls_once() -> None:
    assert [Step(0.5, floor=0.25)(epoch, 6) for epoch in range(6)] == [1.0, 1.0, 1.0, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("percent", range(1, 100))
def test_step_falls_at_its_share_of_the_epochs(percent: int) -> None:
    """0.55 * 200 is 110.00000000000001."""
    fade = Step(percent / 100)
    assert [sum(fade(epoch, total) for epoch in range(total)) for total in (100, 200, 300)] == [percent, 2 * percent, 3 * percent]


def test_published_fades() -> None:
    """Those of the benchmark's leading entries: HAW's, the calibrated exponential's and the warm-up cosine's."""
    t = 120 / 200
    assert Polynomial(2.0)(120, 200) == pytest.approx((1 - t) ** 2)
    assert Exponential(3.0, start=0.70, floor=0.08)(120, 200) == pytest.approx(0.08 + 0.62 * math.exp(-3 * t))
    assert Cosine(warmup=0.15, floor=0.1)(120, 200) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * (t - 0.15) / 0.85)))
    assert Cosine(warmup=0.15, floor=0.1)(29, 200) == 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Polynomial(0.0),
        lambda: Cosine(warmup=1.0),
        lambda: Exponential(-1.0),
        lambda: Step(at=1.0),
        lambda: Constant(-1.0),
        lambda: Polynomial(2.0, start=-1.0),
        lambda: Cosine(floor=-0.1),
        lambda: Exponential(1.0, floor=math.inf),
        lambda: Step(start=math.nan),
    ],
)
def test_impossible_shape_is_refused(make: type[Constant]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
