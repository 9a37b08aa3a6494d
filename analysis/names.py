"""Names that people tell things apart by: labels made unique by what differs, and their order."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]


def natural(text: str) -> list[tuple[float, str]]:
    """A sort key by which `haw[beta=-1]` comes before `haw[beta=2]`, and that before `haw[beta=10]`."""
    parts = re.split(r"((?:(?<![\w.])-)?\d+(?:\.\d+)?)", text)
    # Text and numbers alternate, so like is compared with like.
    return [(float(part), "") if position % 2 else (0.0, part) for position, part in enumerate(parts)]


def unique(
    labels: Mapping[str, str], settings: Mapping[str, Settings], shown: Callable[[Settings], Sequence[str]] = lambda _: ()
) -> dict[str, str]:
    """Labels no two of which are equal: to equal ones the settings are added in which their bearers differ, `haw[beta=3]`.

    Args:
        labels: a label for each thing.
        settings: for each thing its settings by dotted key; the part before the dot is left out where it is "loss" or "model".
        shown: of a thing's settings those that are added to its label whether others have them or not.
    """
    differing = _differing(labels, settings)
    named = {}
    for thing, label in labels.items():
        told = dict.fromkeys([*shown(settings[thing]), *differing[label]])
        named[thing] = bracket(label, [f"{_short(key)}={text(settings[thing].get(key))}" for key in told])
    # Settings that are written alike although they differ, or a label that another one has come to equal.
    count = Counter(named.values())
    return {thing: bracket(label, [f"#{_hash(thing)}"]) if count[label] > 1 else label for thing, label in named.items()}


def text(value: Any) -> str:
    """A setting's value as people write it; of a file's SHA-256 its first six digits."""
    if value is None or value != value:  # NaN: the column is another run's
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    word = str(value)
    return word[:6] if re.fullmatch("[0-9a-f]{64}", word) else word


def _differing(labels: Mapping[str, str], settings: Mapping[str, Settings]) -> dict[str, list[str]]:
    """For each label the settings that its bearers do not agree on."""
    values: dict[str, dict[str, set[str]]] = {}
    for thing, label in labels.items():
        of_label = values.setdefault(label, {})
        for key, value in settings[thing].items():
            of_label.setdefault(key, set()).add(text(value))
    return {label: [key for key, found in keys.items() if len(found) > 1] for label, keys in values.items()}


def bracket(label: str, words: list[str]) -> str:
    """A label with these words in its brackets."""
    if not words:
        return label
    return f"{label[:-1]}, {', '.join(words)}]" if label.endswith("]") else f"{label}[{', '.join(words)}]"


def _short(key: str) -> str:
    return re.sub(r"^(loss|model)\.", "", key)


def _hash(thing: str) -> str:
    return hashlib.sha256(thing.encode()).hexdigest()[:6]
