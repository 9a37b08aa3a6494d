"""A step of each kind of strategy, over the equal-weight step of the same engine."""

from collections.abc import Iterator
from typing import Any

from benchmarks import subjects
from benchmarks.choices import Options, engine, options
from benchmarks.section import Section, times, training_layout
from benchmarks.setting import Setting
from benchmarks.subjects import Ours
from benchmarks.timing import Subject, measure

REFERENCE = "equal"
# What exact gradient strategies are asked to stay below.
TARGET = "target: at most 1.75 for exact gradient strategies (two backward passes) on ResNet-56, on a CPU"

# What the target is for.
ON_CPU = options("fp32", channels_last=True, compiled=False)

# Name: option of conf/loss, changes to it, and why it is here.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "equal": ("equal", {}),  # weights known before the one backward pass
    "famo": ("famo", {}),  # a second forward pass, after the step
    "pcgrad": ("pcgrad", {}),  # two backward passes, closed form
    "cagrad": ("cagrad", {}),
    "fairgrad": ("fairgrad", {}),  # the same, with a root to find
    "mgda_ub": ("mgda_ub", {}),  # gradients of the trunk's output: one backward pass
    "pcgrad, refresh 10": ("pcgrad", {"refresh": 10}),  # one backward pass in nine steps of ten
    "graddrop": ("graddrop", {}),  # a vector operation on both gradients
    "moco": ("moco", {}),  # the same, with a state of their size
}
# Of the strategy whose steps differ in cost: a whole turn is timed, where it is not an epoch.
STEPS = {"pcgrad, refresh 10": 10}


def run(setting: Setting) -> Iterator[Section]:
    """One table for each architecture."""
    for network, plan in setting.each():
        comparison = measure({name: _subject(setting, network, name) for name in KINDS}, plan, setting.device)
        layout = training_layout([REFERENCE], network, setting.batch, subjects.device_name(setting.device))
        choices = Ours(network, setting.device, setting.batch, options=_engine(setting, network)).choices()
        title = f"A step of each kind of strategy, {network}, batch {setting.batch}"
        yield times(title, comparison, layout, [f"engine: {choices}", TARGET])


def _subject(setting: Setting, network: str, name: str) -> Subject:
    loss, changes = KINDS[name]
    subject = Ours(network, setting.device, setting.batch, loss, changes, _engine(setting, network)).training()
    return Subject(subject.prepare, subject.steps or STEPS.get(name))


def _engine(setting: Setting, network: str) -> Options:
    return engine(network, setting.device)[1] if setting.device.type == "cuda" else ON_CPU
