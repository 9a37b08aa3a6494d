"""Images a second of an evaluation."""

from collections.abc import Iterator

from benchmarks import plain
from benchmarks.choices import engines
from benchmarks.section import Layout, Section, times
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Subject, measure

REFERENCE = f"plain evaluation, batch {plain.EVAL_BATCH}"
# Images of a pass: CIFAR-100's test set on a GPU, a tenth of it on a CPU.
IMAGES = {"cpu": 1000, "cuda": 10_000}


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture."""
    images = 10 if setting.quick else IMAGES[setting.device.type]
    for network, plan in setting.each():
        evaluations = {REFERENCE: plain.plain_evaluation(network, setting.device)} | {
            name: Ours(network, setting.device, setting.batch, options=options).evaluation()
            for name, options in engines(network, setting.device).items()
        }
        compared = {name: Subject(subject.prepare, images) for name, subject in evaluations.items()}
        comparison = measure(compared, plan, setting.device)
        title = f"Evaluation of {images} images, {network}"
        yield times(title, comparison, Layout([REFERENCE], step="an image", unit="us", images=1))
