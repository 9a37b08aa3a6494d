"""What a part found: a table for people, the numbers behind it for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from benchmarks.timing import Comparison, Spread
from mtlsweep.words import plural

# 200 epochs of the 50,000 training images.
RUN_IMAGES = 200 * 50_000
# Seconds a step of 128 images cannot go below on an H200 in bf16: the larger of arithmetic and memory traffic, layer by layer.
ROOFLINE = {"resnet20": 149e-6, "resnet56": 425e-6, "vgg16bn": 426e-6}
ROOFLINE_DEVICE, ROOFLINE_BATCH = "H200", 128

EXTRAPOLATED = "seconds of 200 epochs are extrapolated from the steps measured: training only, without evaluation"
CLOCK = {"wall": "time on the wall", "cpu": "processor time of this process, which others' work on the machine is not in"}
MEANING = "median (first to third quartile) over interleaved rounds; a ratio is taken within each round"

Row = dict[str, str]


@dataclass(frozen=True)
class Section:
    """A table with its title and remarks, and the numbers that it was made from."""

    title: str
    rows: Sequence[Row]
    remarks: Sequence[str] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Title, table, remarks as a list."""
        table = pd.DataFrame(list(self.rows)).fillna("").to_markdown(index=False, disable_numparse=True) if self.rows else ""
        return "\n\n".join(part for part in (f"**{self.title}**", table, "\n".join(f"- {remark}" for remark in self.remarks)) if part)


@dataclass(frozen=True)
class Layout:
    """What a table of times shows beside them.

    Attributes:
        references: subjects that every subject is divided by, a column each.
        step: what a step is called, with its article.
        unit: of its time: "ms" or "us".
        images: in a step; None: no column of images a second.
        whole_run: whether to extrapolate to 200 epochs.
        roofline: seconds that a step cannot go below; None: no such column.
    """

    references: Sequence[str]
    step: str = "a step"
    unit: str = "ms"
    images: int | None = None
    whole_run: bool = False
    roofline: float | None = None


def times(title: str, comparison: Comparison, layout: Layout, remarks: Sequence[str] = ()) -> Section:
    """The table of a comparison. What failed is a remark."""
    rows = [_row(name, comparison, layout) for name in comparison.times]
    failed = [f"{name}: not measured ({reason})" for name, reason in comparison.failed.items()]
    extrapolated = [EXTRAPOLATED] if layout.whole_run and rows else []
    rounds = len(next(iter(comparison.times.values()), []))
    meaning = [f"{CLOCK[comparison.clock]}, {MEANING} ({plural(rounds, 'round')})"] if rows else []
    return Section(title, rows, [*meaning, *extrapolated, *remarks, *failed], asdict(comparison))


def training_layout(references: Sequence[str], network: str, batch: int, device_name: str) -> Layout:
    """That of training steps: images a second, 200 epochs, and the share of the roofline where it is known."""
    known = ROOFLINE_DEVICE in device_name and batch == ROOFLINE_BATCH
    return Layout(references, images=batch, whole_run=True, roofline=ROOFLINE.get(network) if known else None)


def _row(name: str, comparison: Comparison, layout: Layout) -> Row:
    step = comparison.step(name)
    scale = {"ms": 1e3, "us": 1e6}[layout.unit]
    row = {"": name, f"{layout.unit} {layout.step}": _spread(Spread(*(value * scale for value in step)), ".4g")}
    for reference in layout.references:
        if reference in comparison.times:
            row[f"ratio to {reference}"] = _spread(comparison.ratio(name, reference), ".2f")
    if layout.images:
        row["images/s"] = f"{layout.images / step.median:.0f}"
    if layout.whole_run:
        row["s for 200 epochs"] = f"{RUN_IMAGES / (layout.images or 1) * step.median:.0f}"
    if layout.roofline:
        row["share of roofline"] = f"{layout.roofline / step.median:.1%}"
    return row


def _spread(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.low:{form}} to {spread.high:{form}})"
