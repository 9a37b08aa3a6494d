"""A PCGrad and a CAGrad step in TorchJD and LibMTL, beside ours."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import libraries, subjects
from benchmarks.choices import engines
from benchmarks.section import Section, times, training_layout
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Subject, measure

DEFAULT, CHUNK_1 = "TorchJD", "TorchJD, parallel_chunk_size=1"
REMARKS = (
    "the libraries' steps are eager, fp32, in torch's own layout, on mini-batches that lie ready; ours crop, flip and normalise as well",
    f"LibMTL 1.1.5 needs what newer versions of torch and torchvision changed, and gets it here: {libraries.RESTORED}",
)


def run(setting: Setting) -> Iterator[Section]:
    """Two tables for each architecture, one for each strategy."""
    for network, plan in setting.each():
        for strategy in ("PCGrad", "CAGrad"):
            half = replace(plan, seconds=plan.seconds / 2)
            comparison = measure(_subjects(setting, network, strategy), half, setting.device)
            layout = training_layout([DEFAULT, CHUNK_1], network, setting.batch, subjects.device_name(setting.device))
            yield times(f"A {strategy} step, {network}, batch {setting.batch}", comparison, layout, REMARKS)


def _subjects(setting: Setting, network: str, strategy: str) -> dict[str, Subject]:
    where, loss = (network, setting.device, setting.batch), strategy.lower()
    return {
        DEFAULT: libraries.torchjd(*where, strategy, chunk=None),
        CHUNK_1: libraries.torchjd(*where, strategy, chunk=1),
        "LibMTL": libraries.libmtl(*where, strategy),
        **{name: Ours(*where, loss, options=options).training() for name, options in engines(network, setting.device).items()},
    }
