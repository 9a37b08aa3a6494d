"""What the device can do at best: memory traffic, products of matrices, and the start of one operation."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from benchmarks.section import Section
from benchmarks.setting import Setting
from benchmarks.timing import Comparison, Subject, measure

# Bytes of a copy, rows of a square product: large enough to keep the device busy.
COPY = {"cpu": 2**27, "cuda": 2**31}
PRODUCT = {"cpu": 1024, "cuda": 8192}
QUICK_COPY, QUICK_PRODUCT = 2**16, 32


def run(setting: Setting) -> Iterator[Section]:
    """One table."""
    kind, device = setting.device.type, setting.device
    size, rows = (QUICK_COPY, QUICK_PRODUCT) if setting.quick else (COPY[kind], PRODUCT[kind])
    comparison = measure(
        {
            "copy": _repeated(lambda: _copy(size, device)),
            "bf16 product": _repeated(lambda: _product(rows, torch.bfloat16, device)),
            "fp32 product": _repeated(lambda: _product(rows, torch.float32, device)),
            "add to one element": _repeated(lambda: _add(device)),
        },
        setting.plan,
        device,
    )
    flop = 2 * rows**3
    amounts = {
        "copy": (2 * size / 1e9, "GB/s read and written"),
        "bf16 product": (flop / 1e12, "TFLOP/s"),
        "fp32 product": (flop / 1e12, "TFLOP/s"),
        "add to one element": (1e-3, "thousand operations a second"),
    }
    yield _section(comparison, amounts, f"copy of {size / 2**20:.4g} MiB, products of {rows} x {rows} matrices")


def _section(comparison: Comparison, amounts: dict[str, tuple[float, str]], remark: str) -> Section:
    rows = []
    for name in comparison.times:
        (amount, unit), step = amounts[name], comparison.step(name)
        rows.append({"": name, "us": f"{step.median * 1e6:.4g}", "rate": f"{amount / step.median:.4g} {unit}"})
    failed = [f"{name}: not measured ({reason})" for name, reason in comparison.failed.items()]
    return Section("Ceilings of the device", rows, [remark, *failed], asdict(comparison))


def _repeated(make: Callable[[], Callable[[], object]]) -> Subject:
    def prepare(steps: int) -> Callable[[], object]:
        operation = make()

        def perform() -> None:
            for _ in range(steps):
                operation()

        return perform

    return Subject(prepare)


def _copy(size: int, device: torch.device) -> Callable[[], object]:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _product(rows: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    # Of constants a GPU makes more a second: fewer bits change, which takes less power.
    left, right = (torch.randn(rows, rows, dtype=dtype, device=device) for _ in range(2))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result)


def _add(device: torch.device) -> Callable[[], object]:
    element = torch.zeros((), device=device)
    return lambda: element.add_(1)
