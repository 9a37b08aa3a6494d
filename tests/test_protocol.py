"""The benchmark's rules, as an author meets them: real commands, real sweeps, a rehearsal of the published history."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from conftest import Ended, finish
from protocol_entries import HISTORY, REHEARSAL, protocol, start
from test_processes import wait_for

from mtlsweep.protocol.entry import Entry
from mtlsweep.protocol.ledger import digest
from mtlsweep.protocol.verification import verify

pytestmark = pytest.mark.processes

NAME = "an entry"


def end(pid: int) -> None:
    """Kill a process that is not ours to wait for. What it held is given up once its last thread has gone, which may be after its first,
    a zombie by then that here nobody may collect."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _threads(pid) > 1 or _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _threads(pid: int) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return 0


class Author:
    """Somebody at a terminal, in a folder with an entry in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entry = directory / NAME
        self.said: dict[str, Ended] = {}

    def do(self, verb: str, *words: str, named: str = "") -> None:
        self.said[named or verb] = protocol(verb, NAME, *words, directory=self.directory)

    def do_apart(self, verb: str, *words: str, named: str = "") -> None:
        """The same in a process of its own."""
        self.said[named or verb] = finish(start([verb, NAME, *words], self.directory))

    def write(self, text: str) -> None:
        (self.entry / "my_loss.py").write_text(text)

    def begin_test(self) -> tuple[subprocess.Popen[str], int]:
        """A trial that has finished an epoch, and is training; with the process of its sweep."""
        before = self._attempts()
        process = start(["test", NAME, *REHEARSAL], self.directory)
        wait_for(lambda: self._attempts() > before and bool(list(self.entry.glob("runs/**/metrics.csv"))), process)
        (sweep,) = psutil.Process(process.pid).children()
        return process, sweep.pid

    def _attempts(self) -> int:
        return len(list(self.entry.glob("runs/**/attempts/*.json")))

    def ledger(self) -> list[str]:
        return [line["event"] for line in Entry.read(self.entry).ledger.lines]

    def architectures(self) -> set[str]:
        """Those of which anything at all is written."""
        return {path.name for path in (self.entry / "runs").iterdir() if path.is_dir() and not path.name.startswith(".")}


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """The published history, rehearsed, with every accident that a trial can have on the way."""
    author = Author(tmp_path_factory.mktemp("protocol"))
    author.do_apart("init")
    author.write(HISTORY[0])
    # Trial 1: Ctrl-C, then SIGKILL of the command while its sweep lives on, then of the sweep; the file is edited meanwhile.
    process, _ = author.begin_test()
    process.send_signal(signal.SIGINT)
    author.said["interrupted"] = finish(process)
    process, orphan = author.begin_test()
    os.kill(orphan, signal.SIGSTOP)
    process.kill()
    author.said["killed"] = Ended(process.wait(), str(orphan), "")
    author.do_apart("test", *REHEARSAL, named="second at once")
    end(orphan)
    author.write("# half an idea")
    author.do("test", *REHEARSAL, named="edited")
    author.do("submit", "1", *REHEARSAL, named="submit unfinished")
    author.do("undo", "1", named="undo unfinished")
    author.do_apart("test", *REHEARSAL, named="trial 1")
    author.do("test", *REHEARSAL, named="unchanged")
    author.write(HISTORY[1])
    author.do("test", *REHEARSAL, "schedule.epochs=3", named="other setting")
    author.do("test", *REHEARSAL, named="trial 2")
    author.write(HISTORY[2])
    author.do("test", *REHEARSAL, named="trial 3")
    author.do("undo", "1", named="undo 1")
    author.said["undone"] = Ended(0, (author.entry / "my_loss.py").read_text(), "")
    author.write("a fourth idea")
    author.do("test", *REHEARSAL, named="trial 4")
    author.do("undo", "4", named="undo 4")
    author.said["before"] = Ended(0, " ".join(sorted(author.architectures())), "")
    author.do("submit", "2", *REHEARSAL)
    author.do("submit", "2", *REHEARSAL, named="submit again")
    author.do("submit", "1", *REHEARSAL, named="submit another")
    author.do("test", *REHEARSAL, named="test after")
    author.do("undo", "1", named="undo after")
    author.do("verify")
    author.do("show")
    return author


def test_no_command_ends_in_a_traceback(author: Author) -> None:
    assert not [name for name, ended in author.said.items() if "Traceback" in ended.out + ended.err]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_trial_prints_the_benchmarks_lines_and_what_is_left(author: Author, number: int) -> None:
    ended = author.said[f"trial {number}"]
    assert ended.status == 0, ended
    for model in ("resnet20", "resnet56"):
        run = re.search(rf"^--- {model}, seed 42\n(TRAIN_METRICS: .*)\n(.*)$", ended.out, re.M)
        assert run
        assert re.fullmatch(r"TRAIN_METRICS: epoch=2 train_loss=\S+ train_acc=\S+ test_acc=\S+ lr=0\.000000", run[1])
        assert re.fullmatch(rf"Final metrics \({model}-syntheticmt\): test_acc_{model}-syntheticmt=\d+\.\d\d", run[2])
    left = {1: "2 tests", 2: "1 test", 3: "0 tests"}[number]
    assert ended.out.endswith(f"[Test #{number}] ({left} remaining)\n")
    assert "vgg" not in ended.out + ended.err


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_version_is_stored_and_is_what_was_run(author: Author, number: int) -> None:
    entry = Entry.read(author.entry)
    stored = author.entry / "versions" / str(number) / "my_loss.py"
    assert stored.read_text() == HISTORY[number - 1]
    runs = entry.trials[number - 1].runs
    assert [list(seeds) for seeds in runs.values()] == [["42"], ["42"]]
    for run in (run for seeds in runs.values() for run in seeds.values()):
        assert (author.entry / run["path"] / "my_loss.py").read_text() == HISTORY[number - 1]
        result = json.loads((author.entry / run["path"] / "result.json").read_text())
        assert (run["status"], run["best"]) == ("completed", result["best_fine_acc"])


def test_rehearsal_says_that_it_is_one(author: Author) -> None:
    for name in ("trial 1", "submit"):
        assert author.said[name].out.startswith("rehearsal: schedule.epochs is 2, the benchmark's 200; ")
    assert "3 of 3 trials used, a rehearsal" in author.said["show"].out


def test_ctrl_c_ends_the_trial_at_once_and_the_same_command_goes_on(author: Author) -> None:
    ended = author.said["interrupted"]
    assert (ended.status, ended.out.splitlines()[-1]) == (130, "interrupted: the same command goes on, and a trial is counted once")
    assert "resuming after epoch 1 of 2" in author.said["trial 1"].err or "2 cells, 1 to run" in author.said["trial 1"].err


def test_entry_is_held_by_the_sweep_of_a_killed_command(author: Author) -> None:
    assert author.said["killed"].status == -signal.SIGKILL
    orphan, ended = author.said["killed"].out, author.said["second at once"]
    line = f"mtlsweep.protocol: {NAME}: another command is at work on this entry (process {orphan}); wait for it to end\n"
    assert (ended.status, ended.out, ended.err) == (2, "", line)


def test_interrupted_killed_and_resumed_is_one_trial(author: Author) -> None:
    assert author.ledger() == ["init", "begin", "undo", "finish", "begin", "finish", "begin", "finish", "undo", "submit", "close"]


REFUSALS = {
    "edited": "my_loss.py is not what trial 1 began with, which is unfinished: `undo` 1 and `test` finish it, ",
    "submit unfinished": "trial 1 is unfinished: only the version of a finished trial can be submitted",
    "unchanged": "my_loss.py is unchanged since trial 1: nothing to test, nothing counted",
    "other setting": "all runs of an entry have one setting: schedule.epochs is 3, was 2. This entry began with: schedule=smoke ",
    "trial 4": "all 3 trials are used; `submit` one of them",
    "undo 4": "there is no trial 4; stored: 1, 2, 3",
    "submit again": f"{NAME}: trial 2 was submitted, the entry is closed",
    "submit another": f"{NAME}: trial 2 was submitted, the entry is closed",
    "test after": f"{NAME}: trial 2 was submitted, the entry is closed",
    "undo after": f"{NAME}: trial 2 was submitted, the entry is closed",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_rules_do_not_allow_is_one_line(author: Author, name: str) -> None:
    ended = author.said[name]
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"mtlsweep.protocol: {REFUSALS[name]}")
    assert ended.err.count("\n") == 1


def test_undo_restores_the_version_and_keeps_what_it_replaces(author: Author) -> None:
    assert author.said["undone"].out == HISTORY[0]
    assert "what it was is in my_loss-" in author.said["undo unfinished"].out
    assert author.said["undo 1"].out == "my_loss.py is the version of trial 1\n"  # trial 3's, which is stored
    assert [path.read_text() for path in author.entry.glob("my_loss-*.py")] == ["# half an idea"]


def test_nothing_of_the_held_out_architecture_exists_before_submission(author: Author) -> None:
    assert author.said["before"].out == "resnet20 resnet56"
    assert author.architectures() == {"resnet20", "resnet56", "vgg16bn"}


def test_final_entry_has_three_architectures_of_the_version_submitted(author: Author) -> None:
    ended, entry = author.said["submit"], Entry.read(author.entry)
    assert ended.status == 0, ended
    final = json.loads((author.entry / "entry.json").read_text())
    assert (final["trial"], final["trials"], final["rehearsal"]) == (2, 3, True)
    assert final["sha256"] == digest(author.entry / "versions" / "2" / "my_loss.py")
    best = {model: seeds["42"]["best"] for model, seeds in final["accuracies"].items()}
    assert list(best) == ["resnet20", "resnet56", "vgg16bn"]
    assert final["geometric_mean"] == pytest.approx((best["resnet20"] * best["resnet56"] * best["vgg16bn"]) ** (1 / 3))
    (held_out,) = author.entry.glob("runs/vgg16bn/*/*/*/my_loss.py")
    assert held_out.read_text() == HISTORY[1]
    assert f"  vgg16bn {best['vgg16bn']:.2f} (n=1), held out\n" in ended.out
    assert f"ledger head {entry.ledger.head}: keep it elsewhere" in ended.out


def test_finished_entry_verifies_also_where_it_is_moved(author: Author, tmp_path: Path) -> None:
    assert author.said["verify"].status == 0
    copy = tmp_path / "moved, renamed"
    subprocess.run(["cp", "-r", author.entry, copy], check=True)
    head = Entry.read(author.entry).ledger.head
    assert verify(copy, head) == []
    assert verify(copy, "0" * 64) == [f"{copy}/ledger.jsonl: has no line {'0' * 64}: it is another ledger, or an earlier one"]
