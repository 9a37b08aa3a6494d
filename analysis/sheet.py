"""A table of words, ready to be printed in any format; and the sheets of a comparison."""

from dataclasses import dataclass, field

from analysis.baseline import Comparison, Line, OfMeans, typical_spread
from analysis.measures import MEANINGS
from analysis.statistics import LEVEL, Estimate, Spread, resolvable, seeds_needed, smallest_p
from analysis.table import Entry
from mtlsweep.words import plural


@dataclass(frozen=True)
class Sheet:
    """Words in rows and columns.

    Attributes:
        title: what the words are, with the unit.
        corner: what the rows are.
        columns: their heads.
        rows: label and words of each.
        remarks: what must be known to read it, a sentence each.
    """

    title: str
    corner: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    remarks: list[str] = field(default_factory=list)


def sheets(comparison: Comparison) -> list[Sheet]:
    """The differences from the baseline by architecture, where there are any, with those of seeds that make no pairs, and the figures over
    all architectures."""
    against = [_differences(comparison), *_of_all_seeds(comparison)] if comparison.baseline else []
    return [*against, _overall(comparison)]


def spell(found: Estimate | None, asked: int = 0) -> str:
    """`+0.43 [-0.20, +1.06] n=3`; `n=2 of 3` where more runs were asked for; without an interval where the differences show no spread."""
    if found is None:
        return ""
    return f"{found.mean:+.2f}{interval(found.low, found.high)} n={found.n}" + (f" of {asked}" if asked > found.n else "")


def interval(low: float | None, high: float | None) -> str:
    """` [-0.20, +1.06]`, to stand behind a difference; nothing where it has none."""
    return "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"


def _differences(comparison: Comparison) -> Sheet:
    baseline = comparison.table.rows[comparison.baseline or ""]
    rows = [
        (name, [spell(found, _asked(*both)) for found, *both in zip(line.differences, comparison.table.rows[name], baseline, strict=True)])
        for name, line in comparison.lines.items()
        if name != comparison.baseline and any(line.differences)
    ]
    title = (
        f"Difference from {comparison.baseline} in {MEANINGS[comparison.table.measure]} (points), 95 % interval of paired t over n seeds"
    )
    return Sheet(title, "strategy", comparison.table.columns, rows, [*_resolution(comparison), *_unlike(comparison)])


def _of_all_seeds(comparison: Comparison) -> list[Sheet]:
    """The same without pairing, of strategies that have other seeds than the baseline: pairs leave those out."""
    lines = {name: line.of_means for name, line in comparison.lines.items() if any(line.of_means)}
    places = [place for place in range(len(comparison.table.columns)) if any(found[place] for found in lines.values())]
    rows = [(name, [_spell_means(found[place]) for place in places]) for name, found in lines.items()]
    title = (
        f"The same of all seeds, without pairing: difference of the means in {MEANINGS[comparison.table.measure]} (points), "
        "95 % interval (Welch)"
    )
    remark = (
        f"n: seeds of the strategy, of {comparison.baseline}; those that only one of the two has are among them. Each interval is for one "
        "comparison by itself; runs of other devices, engines or torch versions are not told apart in it."
    )
    columns = [comparison.table.columns[place] for place in places]
    return [Sheet(title, "strategy", columns, rows, [remark])] if lines else []


def _spell_means(found: OfMeans | None) -> str:
    """`-0.88 [-1.20, -0.57] n=3, 5`; without an interval where either shows no spread."""
    if found is None:
        return ""
    return "{:+.2f}{} n={}, {}".format(found.mean, interval(found.low, found.high), *found.n)


def _unlike(comparison: Comparison) -> list[str]:
    """Says which pairs are not told apart by their strategies alone."""
    baseline = comparison.table.rows[comparison.baseline or ""]
    pairs = [
        (name, made != known.made[seed])
        for name, entries in comparison.table.rows.items()
        if name != comparison.baseline
        for entry, known in zip(entries, baseline, strict=True)
        for seed, made in entry.made.items()
        if seed in known.made
    ]
    names = list(dict.fromkeys(name for name, differs in pairs if differs))
    if not names:
        return []
    return [
        f"{sum(differs for _, differs in pairs)} of {plural(len(pairs), 'pair')} are of runs on different devices, engines "
        f"or torch versions, whose effect is in their differences too: {', '.join(names)}."
    ]


def _overall(comparison: Comparison) -> Sheet:
    against = [f"vs {comparison.baseline}", "p", "p (Holm)"] if comparison.baseline else []
    rows = [
        (name, [_seeds(comparison.table.rows[name]), *_means(line), *(_test(line) if against else [])])
        for name, line in comparison.lines.items()
    ]
    return Sheet(
        f"Over {len(comparison.table.columns)} architecture{'s' * (len(comparison.table.columns) != 1)}",
        "strategy",
        ["n", "geom. mean", "mean rank", "device-hours", *against],
        rows,
        [
            "n: seeds; geom. mean: of the architectures' mean accuracies; mean rank: among the strategies complete on every "
            "architecture that have the most seeds; device-hours: one seed on every architecture, of each run its own turns (runs that "
            "take turns in one process are not counted twice; processes on one device count in full each). A strategy that is not complete "
            "everywhere has none of them.",
            *_devices(comparison),
            *(_pooling(comparison) if against else ["The baseline is not among these strategies: no differences."]),
        ],
    )


def _seeds(entries: list[Entry]) -> str:
    """How many completed runs an architecture has: `3`, or `1-3` where that differs."""
    counts = sorted({entry.n for entry in entries})
    return "-".join(map(str, dict.fromkeys([counts[0], counts[-1]])))


def _devices(comparison: Comparison) -> list[str]:
    """Says that hours of different devices are no measure of a strategy."""
    devices = sorted({made.device for row in comparison.table.rows.values() for entry in row for made in entry.made.values()})
    if len(devices) < 2:
        return []
    return [f"The device-hours are of different devices ({', '.join(devices)}) and do not compare what the strategies cost."]


def _means(line: Line) -> list[str]:
    if line.geometric_mean is None:
        return ["incomplete", "", ""]
    return [
        f"{line.geometric_mean:.2f}",
        "" if line.rank is None else f"{line.rank:.1f}",
        "" if line.hours is None else f"{line.hours:.3g}",
    ]


def _test(line: Line) -> list[str]:
    if line.pooled is None:
        return ["", "", ""]
    adjusted = "" if line.adjusted is None else f"{line.adjusted:.2g}"
    return [f"{line.pooled.mean:+.2f} n={line.pooled.n}", f"{line.pooled.p:.2g}", adjusted]


def _asked(entry: Entry, baseline: Entry) -> int:
    """How many pairs there would be if every run that was asked for had completed."""
    return max(one.n + sum(one.absent.values()) for one in (entry, baseline)) if entry.absent or baseline.absent else 0


def _resolution(comparison: Comparison) -> list[str]:
    spreads = {name: typical_spread(comparison, place) for place, name in enumerate(comparison.table.columns)}
    if not any(spreads.values()):
        called = "" if any(any(line.of_means) for line in comparison.lines.values()) else ", and no difference here can be called one"
        return [f"Fewer than two pairs of seeds say nothing about spread: no interval, no test{called}. Add seeds."]
    lines = [
        _resolves(name, *spread, comparison.resolve) if spread else f"{name}: fewer than two pairs say nothing about spread."
        for name, spread in spreads.items()
    ]
    return ["Each interval is for one comparison by itself, not corrected for their number.", *lines]


def _resolves(name: str, spread: Spread, n: int, strategies: int, resolve: float) -> str:
    if not spread.sd:
        return f"{name}: the differences show no spread, and so do not say what n={n} can find."
    return (
        f"{name}: differences have an sd of {spread.sd:.2f} (pooled over {plural(strategies, 'strategy', 'strategies')}, "
        f"{spread.freedom:.3g} degrees of freedom); n={n} finds {resolvable(spread.sd, n) or 0:.2f} points with 80 % power; "
        f"{resolve:g} points {_needs(spread, resolve)}."
    )


def _needs(spread: Spread, resolve: float) -> str:
    """How many seeds, and from how many to how many if the spread may be any in its interval."""
    least, needed, most = (seeds_needed(resolve, sd) for sd in (spread.low, spread.sd, spread.high))
    if needed is None:
        return "is out of reach"
    return f"needs n={needed} ({f'{least} to {most}' if most else f'at least {least}'} by the sd's 95 % interval)"


def _pooling(comparison: Comparison) -> list[str]:
    pairs = [line.pooled.n for line in comparison.lines.values() if line.pooled]
    if not pairs:
        return ["No strategy is complete, with the baseline, on every architecture: nothing is tested over architectures."]
    if not comparison.family:
        return ["None of the strategies that p values are asked for can be tested: no p is corrected."]
    smallest = smallest_p(max(pairs))
    corrected = min(1.0, smallest * comparison.family)
    count = f"{max(pairs)}" if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    text = (
        f"p: permutation test over architectures and seeds (sign changes of {count} pairs, {_how(comparison)}); the smallest it can "
        f"give is {smallest:.2g}, and {corrected:.2g} corrected by Holm's method for {plural(comparison.family, 'strategy', 'strategies')}."
    )
    return [text + _hopeless(comparison)]


def _hopeless(comparison: Comparison) -> str:
    """Says of which strategies no runs could show that they differ."""
    tested = {name: line.pooled.n for name, line in comparison.lines.items() if line.pooled}
    names = [name for name, pairs in tested.items() if smallest_p(pairs) * comparison.family > LEVEL]
    if len(names) < len(tested):
        return f" With so few pairs it cannot show that these differ, whatever the runs say: {', '.join(names)}." if names else ""
    intervals = any(one and one.low is not None for line in comparison.lines.values() for one in line.differences)
    other = "; the t intervals above can, if differences between seeds are normally distributed" if intervals else ""
    return f" With so few pairs this test cannot show that any strategy differs, whatever the runs say{other}."


def _how(comparison: Comparison) -> str:
    return "all of them" if all(line.pooled.exact for line in comparison.lines.values() if line.pooled) else "9,999 at random"
