"""Full epochs as a run has them: every image once, the last, partial mini-batch too, then the test set."""

from collections.abc import Iterator

from benchmarks.choices import engine
from benchmarks.section import Layout, Section, times
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import measure

TRAIN, TEST = 50_000, 10_000
QUICK_TRAIN, QUICK_TEST = 10, 10


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture: an equal-weight run."""
    train, test = (QUICK_TRAIN, QUICK_TEST) if setting.quick else (TRAIN, TEST)
    for network, plan in setting.each():
        name, options = engine(network, setting.device)
        ours = Ours(network, setting.device, setting.batch, options=options)
        comparison = measure({name: ours.epochs(train, test)}, plan, setting.device)
        remarks = [f"engine: {ours.choices()}"]
        if name in comparison.times:
            seconds = comparison.step(name).median
            remarks.append(
                f"200 epochs would take {200 * seconds:.1f} s, extrapolated; the first, with all preparation, took "
                f"{comparison.warm_up[name]:.1f} s"
            )
        title = f"Epochs of {train} training and {test} test images, {network}, batch {setting.batch}"
        yield times(title, comparison, Layout([], step="an epoch"), remarks)
