"""Whether an entry is what its ledger says: every stored file, every result, every number that was made from them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtlsweep.errors import UserError
from mtlsweep.protocol import results
from mtlsweep.protocol.entry import Entry, Trial
from mtlsweep.protocol.ledger import content, digest
from mtlsweep.protocol.request import STUDY
from mtlsweep.protocol.rules import HELD_OUT, VISIBLE, departures, run_identity, run_signature
from mtlsweep.runs.signature import signature


def verify(path: Path, head: str | None = None) -> list[str]:
    """What differs between an entry and its ledger, a line each; nothing where all is as it should be.

    Args:
        path: of the entry.
        head: a hash that was printed earlier; the ledger must contain it.
    """
    try:
        entry = Entry.read(path)
    except UserError as error:
        return [str(error)]
    hashes = [line["hash"] for line in entry.ledger.lines]
    rewritten = (
        [] if head is None or head in hashes else [f"{entry.ledger.path}: has no line {head}: it is another ledger, or an earlier one"]
    )
    return [*rewritten, *damages(entry), *_strays(entry)]


def damages(entry: Entry) -> list[str]:
    """What of that which the ledger names is missing or has been changed."""
    return list(_damages(entry))


def _damages(entry: Entry) -> Iterator[str]:
    for trial in entry.trials:
        yield from _differing_file(entry.path, trial.begun["file"], trial.source, f"trial {trial.number}")
        if trial.begun["rehearsal"] != bool(departures(*trial.setting, entry.allowed)):
            yield f"trial {trial.number}: is {'no' if trial.begun['rehearsal'] else 'a'} rehearsal, the ledger says otherwise"
        if trial.state == "finished":
            yield from _differing_runs(entry.path, trial, trial.runs, VISIBLE)
    if entry.submitted and entry.final:
        yield from _differing_runs(entry.path, entry.submitted, entry.held_out, HELD_OUT)
        yield from _differing_final(entry)


def _differing_file(folder: Path, relative: str, known: str, whose: str) -> Iterator[str]:
    found = digest(folder / relative)
    if found != known:
        yield f"{relative}: {'is missing' if found is None else f'is not the file of {whose}: it has been changed'}"


def _differing_runs(folder: Path, trial: Trial, runs: results.Runs, models: tuple[str, ...]) -> Iterator[str]:
    setting, seeds = trial.setting
    asked = {(model, str(seed)) for model in models for seed in seeds}
    if asked != {(model, seed) for model, found in runs.items() for seed in found}:
        yield f"trial {trial.number}: the ledger names other runs than it had"
        return
    for model, seed in sorted(asked):
        run = runs[model][seed]
        changed = [
            line for name, known in run["files"].items() for line in _differing_file(folder, f"{run['path']}/{name}", known, "the run")
        ]
        yield from changed or _differing_numbers(folder, run, run_identity(setting, model, int(seed), trial.source))


def _differing_numbers(folder: Path, run: dict[str, Any], identity: dict[str, Any]) -> Iterator[str]:
    """Of files that are the ledger's own: whether they are of the right run, and agree with each other."""
    described, result = (_json(folder / run["path"] / name) for name in ("run.json", "result.json"))
    expected = signature(identity)
    if described.get("identity") != identity or described.get("signature") != expected or result.get("signature") != expected:
        yield f"{run['path']}: is the run of another file, architecture, seed or setting"
        return
    if results.read_run(folder, run["path"]) != run:
        yield f"{run['path']}/result.json: says other accuracies than the ledger"
    epochs = results.epochs_in_metrics(folder / run["path"])
    accuracies = [accuracy for _, accuracy in epochs]
    for name, logged in (("best", max(accuracies, default=None)), ("last", accuracies[-1] if accuracies else None)):
        if not _same(run[name], logged):
            yield f"{run['path']}: result.json says {run[name]}, the {name} of metrics.csv is {logged}"
    asked = identity["schedule"]["epochs"]
    due = asked if run["status"] == "completed" else min(asked, len(epochs))  # a diverged run ends before
    if result.get("epochs") != due or [number for number, _ in epochs] != list(range(1, due + 1)):
        yield f"{run['path']}: metrics.csv has {len(epochs)} epochs, result.json says {result.get('epochs')}, the schedule {asked}"


def _same(said: Any, logged: float | None) -> bool:
    """Whether two accuracies are one; the log has seven digits of it."""
    return isinstance(said, int | float) and logged is not None and abs(said - logged) <= 1e-4


def _differing_final(entry: Entry) -> Iterator[str]:
    from mtlsweep.protocol.submission import FINAL, final_entry

    yield from _differing_file(entry.path, FINAL, entry.final or "", "the submission")
    if digest(entry.path / FINAL) == entry.final and _json(entry.path / FINAL) != final_entry(entry, entry.held_out):
        yield f"{FINAL}: does not follow from the ledger"


def _strays(entry: Entry) -> Iterator[str]:
    """What is there and no line of the ledger accounts for, as if lines had been taken from its end."""
    named = {str(Path(trial.begun["file"]).parent) for trial in entry.trials}
    for folder in sorted(path.relative_to(entry.path).as_posix() for path in entry.path.glob("versions/*")):
        if folder not in named:
            yield f"{folder}: no trial of the ledger has this version"
    known = {run_signature(*of) for of in _accounted(entry)}
    for path in sorted(entry.path.glob(f"{STUDY}/*/*/*/*/run.json")):
        if _json(path).get("signature") not in known:
            yield f"{path.parent.relative_to(entry.path).as_posix()}: no trial of the ledger has this run"


def _accounted(entry: Entry) -> Iterator[tuple[dict[str, Any], str, int, str]]:
    for trial in entry.trials:
        setting, seeds = trial.setting
        models = VISIBLE + (HELD_OUT if trial is entry.submitted else ())
        yield from ((setting, model, seed, trial.source) for model in models for seed in seeds)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content(path) or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
