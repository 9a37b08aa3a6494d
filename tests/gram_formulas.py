"""The weights of the Gram strategies as the papers' formulas read, in 60 digits, where no form of writing them loses any."""

from collections.abc import Callable
from decimal import Decimal, getcontext

getcontext().prec = 60
getcontext().Emin, getcontext().Emax = -10_000, 10_000

ONE, TWO = Decimal(1), Decimal(2)
State = dict[str, Decimal]
Weights = tuple[Decimal, Decimal]
# Of A = |g1|^2, B = g1.g2, C = |g2|^2 and what the strategy keeps between steps.
Formula = Callable[[Decimal, Decimal, Decimal, State], Weights]


def clip(value: Decimal, low: Decimal = Decimal(0), high: Decimal = ONE) -> Decimal:
    return min(max(value, low), high)


def pcgrad(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    return (1 - b / a, 1 - b / c) if b < 0 else (ONE, ONE)


def upgrad(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    fine, coarse = pcgrad(a, b, c, state)
    return fine / 2, coarse / 2


def dualproj(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    if a + b < 0:
        return -b / (2 * a), ONE / 2
    return (ONE / 2, -b / (2 * c)) if c + b < 0 else (ONE / 2, ONE / 2)


def mgda(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    x = clip((c - b) / (a + c - 2 * b))
    return x, 1 - x


def mgda_unit(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    return 1 / (2 * a.sqrt()), 1 / (2 * c.sqrt())


def imtl_g(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    total = a.sqrt() + c.sqrt()
    return c.sqrt() / total, a.sqrt() / total


def config_grad(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    total = a.sqrt() + c.sqrt()
    return total / (2 * a.sqrt()), total / (2 * c.sqrt())


def nash_mtl(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    root = (1 + b / (a * c).sqrt()).sqrt()
    return 1 / (a.sqrt() * root), 1 / (c.sqrt() * root)


def fairgrad(a: Decimal, b: Decimal, c: Decimal, state: State, alpha: int = 2) -> Weights:
    """The ratio r of the weights by halving `log r` where `r^(1 / alpha) (a r + b) = b r + c` changes sign."""
    low, high = Decimal(-150), Decimal(150)
    for _ in range(90):
        middle = (low + high) / 2
        ratio = middle.exp()
        if (middle / alpha).exp() * (a * ratio + b) < b * ratio + c:
            low = middle
        else:
            high = middle
    ratio = low.exp()
    coarse = (b * ratio + c) ** (Decimal(-alpha) / (1 + alpha))
    return ratio * coarse, coarse


def cagrad(a: Decimal, b: Decimal, c: Decimal, state: State, radius: Decimal = ONE / 2) -> Weights:
    d = a + c - 2 * b
    s = radius * (a + c + 2 * b).sqrt() / 2
    h = (a - c) / (2 * s)
    if h * h >= d:
        x = Decimal(h < 0)
    else:
        least = (a * c - b * b) / d
        x = clip((c - b) / d - h * (least / (d * (d - h * h))).sqrt())
    size = s / (d * x * x - 2 * (c - b) * x + c).sqrt()
    return ONE / 2 + size * x, ONE / 2 + size * (1 - x)


def aligned_mtl(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    delta = (a * c - b * b).sqrt()
    trace = (a + c + 2 * delta).sqrt()
    least = (a + c - ((a + c) ** 2 - 4 * delta * delta).sqrt()) / 2
    scale = least.sqrt() / (delta * trace)
    return scale * (c + delta - b), scale * (a + delta - b)


def sdmgrad(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    pull = Decimal.from_float(0.3)  # the binary number, as the strategy has it
    x = clip((c - b - pull * (a - c) / 2) / (a + c - 2 * b))
    return (x + pull / 2) / (1 + pull), (1 - x + pull / 2) / (1 + pull)


def gradvac(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    cosine, target = b / (a * c).sqrt(), state.get("target", Decimal(0))
    state["target"] = (target + cosine) / 2
    if target <= cosine:
        return ONE, ONE
    wanted_sine = (1 - target * target).sqrt()
    turn = (target * (1 - cosine * cosine).sqrt() - cosine * wanted_sine) / wanted_sine
    return 1 + turn * (c / a).sqrt(), 1 + turn * (a / c).sqrt()


def pcd(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    share, memory = Decimal.from_float(0.02), Decimal.from_float(0.999)
    for key, value in (("fine", a), ("coarse", c), ("one", ONE)):
        state[key] = memory * state.get(key, Decimal(0)) + (1 - memory) * value
    one, two = (state["one"] / state["fine"]).sqrt(), (state["one"] / state["coarse"]).sqrt()
    mu = max(Decimal(0), share - one * b / (two * c))
    length = (one * one * a + 2 * mu * one * two * b + mu * mu * two * two * c).sqrt()
    return one * a.sqrt() / length, mu * two * a.sqrt() / length


def cosine_gate_hard(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    return ONE, Decimal(b >= 0)


def cosine_gate_soft(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    return ONE, max(Decimal(0), b / (a * c).sqrt())


def project_auxiliary(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    return (1 - b / a, ONE) if b < 0 else (ONE, ONE)


def modo(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    rate, decay = Decimal.from_float(0.001), Decimal.from_float(0.1)
    x = state.get("x", ONE / 2)
    fine = x - rate * (a * x + b * (1 - x) + decay * x)
    coarse = 1 - x - rate * (b * x + c * (1 - x) + decay * (1 - x))
    state["x"] = clip((1 + fine - coarse) / 2)
    return state["x"], 1 - state["x"]


def cr_mogm(a: Decimal, b: Decimal, c: Decimal, state: State) -> Weights:
    memory = Decimal.from_float(0.9)
    x, _ = mgda(a, b, c, state)
    state["x"] = memory * state.get("x", x) + (1 - memory) * x
    return state["x"], 1 - state["x"]


FORMULAS: dict[str, Formula] = {
    function.__name__: function
    for function in (
        pcgrad,
        upgrad,
        dualproj,
        mgda,
        mgda_unit,
        imtl_g,
        config_grad,
        nash_mtl,
        fairgrad,
        cagrad,
        aligned_mtl,
        sdmgrad,
        gradvac,
        pcd,
        cosine_gate_hard,
        cosine_gate_soft,
        project_auxiliary,
        modo,
        cr_mogm,
    )
}
