"""What the benchmark fixes (cv-multitask-loss of MLS-Bench, arXiv:2605.08678), and the identity of the runs that follow from it."""

from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.runs.signature import dotted, signature

# Raised when an entry of today would be misread.
VERSION = 1

TRIALS = 3
SEEDS = (42, 123, 456)
VISIBLE = ("resnet20", "resnet56")
HELD_OUT = ("vgg16bn",)
ARCHITECTURES = VISIBLE + HELD_OUT

Setting = dict[str, Any]

# As in the identity of a run (`mtlsweep.runs.signature`). They stand here too, so that no edit of conf/ changes the rules unseen.
MODELS: dict[str, Setting] = {
    "resnet20": {"_target_": "mtlsweep.models.resnet", "depth": 20, "width": 16},
    "resnet56": {"_target_": "mtlsweep.models.resnet", "depth": 56, "width": 16},
    "vgg16bn": {"_target_": "mtlsweep.models.vgg_bn", "depth": 16},
}
SETTING: Setting = {
    "curriculum": {"_target_": "mtlsweep.curriculum.Constant", "value": 1.0},
    "schedule": {"epochs": 200, "batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005},
    "data": {"name": "cifar100", "seed": 0, "train_size": None, "test_size": None, "validation": 0},
}


def run_identity(setting: Setting, model: str, seed: int, source: str) -> dict[str, Any]:
    """The identity of the run of a file.

    Args:
        setting: what all runs of an entry share, see `setting_of`.
        model: name of the architecture.
        seed: of the run.
        source: SHA-256 of the file.
    """
    loss = {"_target_": "mtlsweep.losses.user.load", "params": {}, "source": source}
    return setting | {"model": MODELS[model], "loss": loss, "seed": seed}


def run_signature(setting: Setting, model: str, seed: int, source: str) -> str:
    """The signature of that run."""
    return signature(run_identity(setting, model, seed, source))


def setting_of(identity: dict[str, Any]) -> Setting:
    """What of a run's identity is neither its architecture nor its strategy nor its seed."""
    return {key: value for key, value in identity.items() if key not in ("model", "loss", "seed")}


def departures(setting: Setting, seeds: list[int], trials: int = TRIALS) -> list[str]:
    """How an entry of so many trials is not the benchmark's, in words; empty where it is. The benchmark leaves the arithmetic open; some of
    its seeds are no other setting than all of them, only fewer runs; fewer trials are no advantage."""
    other = [f"{key} is {value}, the benchmark's {theirs}" for key, value, theirs in differences(setting, SETTING) if _fixed(key)]
    unknown = [seed for seed in seeds if seed not in SEEDS]
    return [
        *other,
        *([f"seed is {_join(unknown)}, the benchmark's {_join(SEEDS)}"] if unknown else []),
        *([f"{trials} trials are allowed, by the benchmark {TRIALS}"] if trials > TRIALS else []),
    ]


def differences(one: Setting, other: Setting) -> list[tuple[str, Any, Any]]:
    """The dotted keys in which two settings differ, with both values (None where one has no such key)."""
    ours, theirs = dotted(one), dotted(other)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def check_same(given: tuple[Setting, list[int]], before: tuple[Setting, list[int]], said: str) -> None:
    """Check that setting and seeds are those that an entry began with.

    Args:
        given, before: setting and seeds.
        said: the overrides by which the entry got its own.

    Raises:
        UserError: they are others.
    """
    found = [f"{key} is {value}, was {earlier}" for key, value, earlier in differences(given[0], before[0])]
    if given[1] != before[1]:
        found.append(f"seed is {_join(given[1])}, was {_join(before[1])}")
    if found:
        raise UserError(f"all runs of an entry have one setting: {'; '.join(found)}. This entry began with: {said or 'no overrides'}")


def _fixed(key: str) -> bool:
    return not key.startswith("engine.")


def _join(seeds: Any) -> str:
    return ",".join(map(str, seeds))
