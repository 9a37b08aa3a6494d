"""What the benchmark's rules guard against: hostile files, edited ledgers and results, rehearsals among entries."""

import csv
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import ROOT, Ended
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from protocol_entries import HISTORY, REHEARSAL, chained, fake_entry, protocol
from studies import complete, make_cell
from test_user_files import UNCERTAINTY, written

from mtlsweep import config
from mtlsweep.errors import UserError
from mtlsweep.protocol import check, sweep
from mtlsweep.protocol.__main__ import main
from mtlsweep.protocol.entry import Entry
from mtlsweep.protocol.ledger import Ledger
from mtlsweep.protocol.lock import locked
from mtlsweep.protocol.probe import find_fault
from mtlsweep.protocol.request import Request
from mtlsweep.protocol.results import read_run, summary
from mtlsweep.protocol.rules import MODELS, SETTING, departures, setting_of
from mtlsweep.protocol.verification import verify

BEST = {"resnet20": 67.0, "resnet56": 71.0, "vgg16bn": 73.0}


def begun(directory: Path, text: str, trials: str = "3") -> Path:
    protocol("init", "e", "--trials", trials, directory=directory)
    (directory / "e" / "my_loss.py").write_text(text)
    return directory / "e"


# -- the file --------------------------------------------------------------------------------------------------------------------------

SUM = "return fine_loss + coarse_loss"
# What only limits and a process of its own withstand.
HOSTILE = {
    "loops_at_import": ("while True:\n    pass", "my_loss.py: it is still being imported after 1 s: the check was ended"),
    "loops_in_forward": (written("while True:\n    pass"), "my_loss.py: its steps have not ended after 1 s: the check was ended"),
    "allocates": (written("torch.ones(10**12)"), "my_loss.py, line 11: RuntimeError: "),
    "ends_the_process": ("import os\nos._exit(0)", "my_loss.py: ended the process that checks it (exit status 0)"),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_ends_with_one_line_and_costs_no_trial(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SECONDS", 1.0)
    text, line = HOSTILE[name]
    entry = begun(tmp_path, text)
    ended = protocol("test", "e", *REHEARSAL, directory=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"mtlsweep.protocol: {line}")
    assert ended.err.endswith("(not counted as a trial)\n")
    assert ended.err.count("\n") == 1
    assert Entry.read(entry).remaining == 3
    assert not (entry / "versions").exists()
    assert verify(entry) == []


FAULTS = {
    "syntax": ("def f(:", "my_loss.py: cannot be imported: SyntaxError: "),
    "exits": ("raise SystemExit", "my_loss.py, line 1: cannot be imported: SystemExit"),
    "interrupts": ("raise KeyboardInterrupt", "my_loss.py: KeyboardInterrupt"),
    "no_class": ("", "my_loss.py: has no class MultiTaskLoss(nn.Module)"),
    "raises": (written("raise RuntimeError('oh')"), "my_loss.py, line 11: RuntimeError: oh"),
    "raises_late": (written("if epoch > 150:\n    raise ValueError\n" + SUM), "my_loss.py, line 12: ValueError"),
    "arguments": (written(SUM).replace(", epoch", ""), "my_loss.py: MultiTaskLoss.forward must take (fine_loss, coarse_loss, epoch, "),
    "tasks": (written(SUM).replace(", num_tasks=2", ""), "my_loss.py: MultiTaskLoss.__init__ must take num_tasks: "),
    "float": (written("return fine_loss.item()"), "my_loss.py: MultiTaskLoss.forward returned a float"),
    "nan_late": (written(f"if epoch == 100:\n    return fine_loss * float('nan')\n{SUM}"), "my_loss.py: MultiTaskLoss gave nan "),
    "no_coarse": (written("return fine_loss"), "my_loss.py: MultiTaskLoss: no gradient reaches coarse_loss, "),
    "no_parameter": (
        written(SUM, "self.w = nn.Parameter(torch.zeros(2))"),
        "my_loss.py: MultiTaskLoss: no gradient reaches the parameter w, ",
    ),
    "keeps_the_graph": (
        written("self.mean = 0.9 * self.mean + fine_loss\nreturn self.mean * coarse_loss", "self.mean = 0.0"),
        "my_loss.py: the backward pass raised RuntimeError: Trying to backward through the graph a second time",
    ),
    "more_than_forward": (
        written(SUM) + "\n    def after_step(self, losses):\n        pass\n",
        "my_loss.py: MultiTaskLoss has after_step, which the benchmark does not call",
    ),
    "gradients": (
        "from mtlsweep.losses.pcgrad import PCGrad as MultiTaskLoss",
        "my_loss.py: MultiTaskLoss combines gradients; the benchmark's interface is forward(...) of the two losses",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_a_file_is_named(name: str, tmp_path: Path) -> None:
    text, line = FAULTS[name]
    (tmp_path / "my_loss.py").write_text(text)
    found = find_fault(tmp_path / "my_loss.py", io.StringIO())
    assert found is not None
    assert found.startswith(line)


FADES_IN = written("return fine_loss + coarse_loss if epoch > 50 else fine_loss")


@pytest.mark.parametrize("text", [*HISTORY, FADES_IN, (ROOT / "mtlsweep" / "protocol" / "skeleton.py").read_text()])
def test_sound_file_has_no_fault(text: str, tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(text)
    assert find_fault(tmp_path / "my_loss.py", io.StringIO()) is None


# -- training --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_trial_that_fails_in_training_stays_one_until_it_is_given_up(tmp_path: Path) -> None:
    entry = begun(tmp_path, written(f"if total_epochs == 2:\n    raise ValueError('never in the check')\n{SUM}"), trials="1")
    failed = protocol("test", "e", *REHEARSAL, directory=tmp_path)
    assert failed.status == 1
    for model in ("resnet20", "resnet56"):
        line = f"trial 1 is not finished: {model} seed 42: failed: my_loss.py, line 12: ValueError: never in the check\n"
        assert line in failed.out
    assert [trial.state for trial in Entry.read(entry).trials] == ["unfinished"]
    (entry / "my_loss.py").write_text(UNCERTAINTY)
    assert "is not what trial 1 began with" in protocol("test", "e", *REHEARSAL, directory=tmp_path).err
    given_up = protocol("test", "e", "--abandon", *REHEARSAL, directory=tmp_path)
    assert (given_up.status, given_up.err) == (2, "mtlsweep.protocol: all 1 trials are used; `submit` one of them\n")
    assert [trial.state for trial in Entry.read(entry).trials] == ["abandoned"]
    assert "trial 1 is abandoned" in protocol("submit", "e", "1", *REHEARSAL, directory=tmp_path).err
    assert verify(entry) == []


@pytest.mark.processes
def test_sweep_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "GRACE_SECONDS", 0.1)
    entry = begun(tmp_path, "")
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    with locked(entry) as lock:
        with pytest.raises(sweep.LimitReached):
            sweep.run([sys.executable, "-c", deaf], lock, seconds=1.0)
        assert sweep.run([sys.executable, "-c", "raise SystemExit(3)"], lock) == 3
        assert int((entry / ".lock").read_text()) == os.getpid()
    with locked(entry):
        pass  # no process is left that holds it


# -- overrides -------------------------------------------------------------------------------------------------------------------------


def test_settings_of_the_rules_are_those_of_conf(tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(UNCERTAINTY)
    cells = Request.of([]).cells(tmp_path, tmp_path / "my_loss.py", tuple(MODELS))
    assert [(cell.options["model"], cell.settings["seed"]) for cell in cells] == [
        (model, seed) for model in MODELS for seed in (42, 123, 456)
    ]
    for cell in cells:
        assert cell.identity["model"] == MODELS[cell.options["model"]]
        assert {key: cell.identity[key] for key in SETTING} == SETTING
        assert departures(setting_of(cell.identity), [42, 123, 456]) == []
        assert departures(setting_of(cell.identity), [42], trials=4) == ["4 trials are allowed, by the benchmark 3"]


@pytest.mark.parametrize(
    "path", ["with, comma", "a=b", 'quote"d', "it's", "${oc.env:HOME}", "a${x}", r"\${x}", "back\\slash", "ümlaut (1) [2] {3}"]
)
def test_path_reaches_hydra_as_it_is(path: str, tmp_path: Path) -> None:
    entry = tmp_path / path
    entry.mkdir()
    (entry / "my_loss.py").write_text(UNCERTAINTY)
    words = Request.of([]).command(entry, entry / "my_loss.py", ["resnet20"])[3:]
    config.register()
    with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", [word for word in words if not word.startswith("seed=")])
    resolved: Any = OmegaConf.to_container(composed, resolve=True)
    assert (resolved["runs_dir"], resolved["loss"]["path"]) == (str(entry), str(entry / "my_loss.py"))
    (cell,) = Request.of(["seed=42"]).cells(entry, entry / "my_loss.py", ["resnet20"])
    assert (cell.study_dir, cell.source) == (entry / "runs", entry / "my_loss.py")


def test_reader_of_the_output_that_leaves_is_no_fault_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlsweep.protocol.__main__._do", Mock(side_effect=BrokenPipeError))
    with pytest.raises(BrokenPipeError):  # `exit_with` takes it
        main(["leaderboard", "."])


@pytest.mark.parametrize("path", ["${", "${}"])
def test_path_that_hydra_cannot_read_is_refused_before_anything_is_there(path: str, tmp_path: Path) -> None:
    ended = protocol("init", path, directory=tmp_path)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "Hydra takes no path" in ended.err
    assert not list(tmp_path.iterdir())


REFUSED = {
    "model=vgg16bn": "fixed by the benchmark's rules, or this tool's own; free are seed, schedule, ",
    "loss=haw": "fixed by",
    "+loss.params.beta=3": "fixed by",
    "curriculum=linear": "fixed by",
    "study=other": "fixed by",
    "runs_dir=/tmp": "fixed by",
    "rerun=all": "fixed by",
    "dry_run=true": "fixed by",
    "experiment=demo": "fixed by",
    "+experiment=demo": "fixed by",
    "hydra.sweeper.params.model=vgg16bn": "fixed by",
    "schedule.lr=0.1,0.2": "a trial is of one setting",
    "schedule=glob(*)": "a trial is of one setting",
    "seed=x": "must be one or more different whole numbers",
    "seed=1,1": "must be one or more different whole numbers",
}


@pytest.mark.parametrize("override", REFUSED)
def test_override_of_what_is_fixed_is_refused(override: str, tmp_path: Path) -> None:
    entry = begun(tmp_path, UNCERTAINTY)
    ended = protocol("test", "e", override, directory=tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"mtlsweep.protocol: {override}: {REFUSED[override]}")
    assert Entry.read(entry).remaining == 3


def test_subset_of_the_seeds_is_no_rehearsal_and_another_seed_is() -> None:
    assert departures(SETTING, [42]) == []
    assert departures(SETTING | {"engine": {"precision": "bf16"}}, [456]) == []
    assert departures(SETTING, [42, 1]) == ["seed is 1, the benchmark's 42,123,456"]
    assert departures(SETTING | {"schedule": SETTING["schedule"] | {"epochs": 100}}, [42]) == [
        "schedule.epochs is 100, the benchmark's 200"
    ]


# -- the ledger ------------------------------------------------------------------------------------------------------------------------

Lines = list[dict[str, Any]]


def edit_text(entry: Path, edit: Callable[[str], str]) -> None:
    path = entry / "ledger.jsonl"
    path.write_text(edit(path.read_text()))


def forge(entry: Path, edit: Callable[[Lines], object]) -> None:
    """Edit the lines and make all hashes anew."""
    lines = [dict(line) for line in Ledger.read(entry / "ledger.jsonl").lines]
    edit(lines)
    (entry / "ledger.jsonl").write_text(chained(lines))


def edit_file(entry: Path, pattern: str, old: str, new: str) -> None:
    path = sorted(entry.glob(pattern))[0]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def forge_accuracy(lines: Lines) -> None:
    lines[2]["runs"]["resnet20"]["42"]["best"] = 99.0


def forge_all(entry: Path, name: str, old: str, new: str) -> None:
    """A file of a run, and the ledger made to fit."""
    edit_file(entry, f"runs/resnet20/*/*/seed42/{name}", old, new)
    forge(entry, lambda lines: lines[2]["runs"]["resnet20"].update({"42": read_run(entry, "runs/resnet20/user-file/cosine200/seed42")}))


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "accuracy": (lambda e: edit_text(e, lambda t: t.replace('"best": 67.0', '"best": 69.0', 1)), "line 3: has been changed"),
    "last line": (lambda e: edit_text(e, lambda t: t[:-80] + t[-80:].replace("a", "b")), "line 5: has been changed"),
    "blank": (lambda e: edit_text(e, lambda t: t.replace('": ', '":  ', 1)), "line 1: has been changed"),
    "trials": (lambda e: edit_text(e, lambda t: t.replace('"trials": 3', '"trials": 9')), "line 1: has been changed"),
    "line removed": (lambda e: edit_text(e, lambda t: "".join(t.splitlines(True)[:1] + t.splitlines(True)[2:])), "line 2: does not follow"),
    "lines exchanged": (lambda e: edit_text(e, lambda t: "".join(sorted(t.splitlines(True), reverse=True))), "line 1: does not follow"),
    "half a line": (lambda e: edit_text(e, lambda t: t[:-10]), "line 5: is not JSON"),
    "not text": (lambda e: (e / "ledger.jsonl").write_bytes(b"\xff\xfe"), "cannot be read"),
    "emptied": (lambda e: edit_text(e, lambda t: ""), "is empty"),
    "removed": (lambda e: (e / "ledger.jsonl").unlink(), "not an entry"),
    "forged accuracy": (lambda e: forge(e, forge_accuracy), "seed42/result.json: says other accuracies than the ledger"),
    "forged best": (
        lambda e: forge_all(e, "result.json", '"best_fine_acc": 66.0', '"best_fine_acc": 99.0'),
        "seed42: result.json says 99.0, the best of metrics.csv is 66.0",
    ),
    "forged last": (
        lambda e: forge_all(e, "result.json", '"last_fine_acc": 65.5', '"last_fine_acc": 99.0'),
        "seed42: result.json says 99.0, the last of metrics.csv is 65.5",
    ),
    "trained longer": (
        lambda e: forge_all(e, "metrics.csv", "\n200,65.5\n", "\n200,65.5\n201,65.5\n"),
        "seed42: metrics.csv has 201 epochs, result.json says 200, the schedule 200",
    ),
    "trained shorter": (
        lambda e: forge_all(e, "result.json", '"epochs": 200', '"epochs": 199'),
        "seed42: metrics.csv has 200 epochs, result.json says 199, the schedule 200",
    ),
    "forged rehearsal": (lambda e: forge(e, lambda lines: lines[1].update(rehearsal=True)), "trial 1: is no rehearsal, the ledger says"),
    "forged setting": (lambda e: forge(e, lambda lines: lines[1]["setting"]["schedule"].update(epochs=9)), "is the run of another file"),
    "forged seeds": (lambda e: forge(e, lambda lines: lines[1].update(seeds=[42])), "trial 1: the ledger names other runs than it had"),
    "trial taken away": (lambda e: forge(e, lambda lines: lines.__delitem__(slice(1, None))), "versions/1: no trial of the ledger"),
    "submission undone": (lambda e: forge(e, lambda lines: lines.__delitem__(slice(3, None))), "vgg16bn/user-file/cosine200/seed123: no"),
    "trial after the end": (lambda e: forge(e, lambda lines: lines.append(lines[1] | {"trial": 2})), "line 6: is not what this tool"),
    "trial without begin": (lambda e: forge(e, lambda lines: lines.pop(1)), "line 2: is not what this tool writes"),
    "unknown event": (lambda e: forge(e, lambda lines: lines[3].update(event="win")), "line 4: is not what this tool writes"),
    "version": (lambda e: edit_file(e, "versions/1/my_loss.py", "torch", "torch "), "versions/1/my_loss.py: is not the file of trial 1"),
    "result": (lambda e: edit_file(e, "runs/resnet56/*/*/*/result.json", "71.0", "80.0"), "cosine200/seed123/result.json: is not"),
    "metrics": (lambda e: edit_file(e, "runs/vgg16bn/*/*/*/metrics.csv", "73.0", "80.0"), "metrics.csv: is not the file of the run"),
    "run removed": (lambda e: shutil.rmtree(e / "runs/vgg16bn"), "runs/vgg16bn/user-file/cosine200/seed123/run.json: is missing"),
    "final": (lambda e: edit_file(e, "entry.json", '"trial": 1', '"trial": 2'), "entry.json: is not the file of the submission"),
    "final removed": (lambda e: (e / "entry.json").unlink(), "entry.json: is missing"),
}  # fmt: skip


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_entry(tmp_path_factory.mktemp("fake") / "entry", BEST)


@pytest.mark.parametrize("name", EDITS)
def test_edit_is_found(name: str, entry: Path, tmp_path: Path) -> None:
    edit, difference = EDITS[name]
    copy = tmp_path / "copy"
    shutil.copytree(entry, copy)
    assert verify(copy) == []
    edit(copy)
    ended = protocol("verify", "copy", directory=tmp_path)
    assert (ended.status, ended.err) == (1, "")
    assert difference in ended.out


def test_head_kept_elsewhere_shows_that_lines_were_taken_away(entry: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(entry, copy)
    ledger = Ledger.read(entry / "ledger.jsonl")
    edit_text(copy, lambda text: "".join(text.splitlines(True)[:3]))
    (copy / "entry.json").unlink()
    shutil.rmtree(copy / "runs" / "vgg16bn")
    assert verify(copy) == []  # nothing in it tells
    assert protocol("verify", "copy", "--head", ledger.lines[2]["hash"], directory=tmp_path).status == 0
    ended = protocol("verify", "copy", "--head", ledger.head, directory=tmp_path)
    assert (ended.status, ended.out) == (1, f"copy/ledger.jsonl: has no line {ledger.head}: it is another ledger, or an earlier one\n")


def test_edited_ledger_is_not_written_on(entry: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(entry, copy)
    read = Ledger.read(copy / "ledger.jsonl")
    edit_text(copy, lambda text: text.replace('"trials": 3', '"trials": 9'))
    before = (copy / "ledger.jsonl").read_text()
    with pytest.raises(UserError, match="has been changed meanwhile"):
        read.append("undo", trial=1)
    for verb in (["test"], ["undo"], ["submit"], ["show"]):
        words = ["1"] if verb[0] in ("undo", "submit") else []
        ended = protocol(*verb, "copy", *words, directory=tmp_path)
        assert (ended.status, ended.out) == (2, "")
        assert "line 1: has been changed" in ended.err
    assert (copy / "ledger.jsonl").read_text() == before


# -- the leaderboard -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two entries, a rehearsal, an entry that was not submitted, one that was edited, and a study with runs of two settings."""
    folder = tmp_path_factory.mktemp("competition")
    fake_entry(folder / "ann", BEST)
    fake_entry(folder / "ben", {model: accuracy + 1 for model, accuracy in BEST.items()})
    fake_entry(folder / "practice", dict.fromkeys(BEST, 99.0), schedule=SETTING["schedule"] | {"epochs": 3})
    fake_entry(folder / "edited", BEST)
    edit_file(folder / "edited", "entry.json", "67", "97")
    Entry.create(folder / "begun", 3)
    real = {f"schedule__{key}": value for key, value in SETTING["schedule"].items()}
    real |= {f"data__{key}": value for key, value in SETTING["data"].items()}
    for model, accuracy in BEST.items():
        for seed in (42, 123):
            complete(make_cell(folder / "study", model, "dwa", seed, **real), accuracy + 0.5, accuracy)
            complete(make_cell(folder / "study", model, "haw", seed), 98.0, 97.0)
    complete(make_cell(folder / "study", "resnet20", "equal", 42, **real), 60.0, 59.0)
    return folder


def board(folder: Path, *words: str) -> Ended:
    return protocol("leaderboard", *words, directory=folder)


def test_leaderboard_ranks_entries_strategies_and_the_published(competition: Path) -> None:
    ended = board(competition, "ann", "ben", "practice", "edited", "begun", "study", "--format", "csv")
    assert ended.status == 0
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    ours = [(row["strategy"], row["kind"]) for row in rows if row["kind"] != "published"]
    assert ours == [("ben", "entry"), ("dwa", "study"), ("ann", "entry"), ("equal", "study")]
    assert len({row["strategy"] for row in rows if row["kind"] == "published"}) == 11
    ann, dwa, equal = (next(row for row in rows if row["strategy"] == name) for name in ("ann", "dwa", "equal"))
    assert [float(ann[f"resnet20_{name}"]) for name in ("best", "last", "sd", "n")] == [67.0, 66.5, 1.0, 3]
    assert float(ann["geometric_mean"]) == pytest.approx((67 * 71 * 73) ** (1 / 3), abs=1e-4)
    assert (dwa["vgg16bn_best"], dwa["vgg16bn_n"]) == ("73.5", "2")
    assert (equal["resnet20_best"], equal["vgg16bn_n"], equal["geometric_mean"]) == ("60", "0", "")
    ranked = [float(row["geometric_mean"]) for row in rows if row["geometric_mean"]]
    assert ranked == sorted(ranked, reverse=True)
    assert "left out practice: a rehearsal\n" in ended.err
    assert "left out edited: not as its ledger says: entry.json: is not the file of the submission" in ended.err
    assert "left out begun: not submitted\n" in ended.err


def test_leaderboard_has_each_entry_once_and_tells_folders_of_one_name_apart(competition: Path, tmp_path: Path) -> None:
    shutil.copytree(competition / "ann", tmp_path / "ann")
    ended = board(competition, "ann", "ann/", "../" + competition.name + "/ann", str(tmp_path / "ann"), "--format", "csv")
    names = [row["strategy"] for row in csv.DictReader(io.StringIO(ended.out)) if row["kind"] == "entry"]
    assert (len(names), str(tmp_path / "ann") in names) == (2, True)


def test_leaderboard_as_markdown_names_the_held_out_column(competition: Path) -> None:
    out = board(competition, "ann", "study").out
    assert "| vgg16bn (held out) |" in " ".join(out.split())
    assert "| ann | entry | 67.00 ± 1.00 n=3 | 71.00 ± 1.00 n=3 | 73.00 ± 1.00 n=3 | 70.29 |" in " ".join(out.split())
    assert "REHEARSAL" not in out


def test_rehearsals_have_a_leaderboard_of_their_own(competition: Path) -> None:
    out = board(competition, "practice").out
    assert "REHEARSAL, not the benchmark" in out
    assert "practice" in out
    assert "published" not in out
    assert "practice" not in board(competition, "practice", "ann").out


def test_leaderboard_of_nothing_is_refused(competition: Path) -> None:
    ended = board(competition, "begun")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.endswith("mtlsweep.protocol: nothing to show: no submitted entry and no run of the benchmark's setting\n")
    assert board(competition, "nowhere").status == 2


def test_an_architecture_all_of_whose_runs_diverged_is_a_result() -> None:
    completed, diverged = ({"status": status, "best": 67.1} for status in ("completed", "diverged"))
    assert summary("resnet20", {"42": completed, "123": diverged}) == "resnet20 67.10 (n=1, 1 diverged)"
    assert summary("resnet20", {"42": diverged, "123": diverged}) == "resnet20 (n=0, 2 diverged)"
