"""Numbers as people say them."""

from collections.abc import Sequence


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 cell`, `2 cells`; `2 processes` where `many` says so."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def counts(words: Sequence[str]) -> str:
    """`2 run, 1 done`."""
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def duration(seconds: float) -> str:
    """A length of time: `45 s`, `3 min 05 s`, `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
