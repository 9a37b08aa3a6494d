"""Files and entries for the tests of the benchmark's rules."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from conftest import ROOT, Ended
from test_user_files import PASTED

from mtlsweep.protocol.__main__ import main
from mtlsweep.protocol.entry import Entry
from mtlsweep.protocol.ledger import START, _hash, digest
from mtlsweep.protocol.results import read_run
from mtlsweep.protocol.rules import HELD_OUT, SEEDS, SETTING, VISIBLE, departures, run_identity, run_signature
from mtlsweep.protocol.submission import FINAL, final_entry
from mtlsweep.runs import files

# A rehearsal that takes seconds; ResNets and VGG are the benchmark's own.
REHEARSAL = ["schedule=smoke", "data=synthetic", "data.train_size=100", "data.test_size=100", "schedule.epochs=2", "schedule.batch_size=50"]
REHEARSAL += ["seed=42", "engine.precision=fp32", "checkpoint_seconds=0"]


# The published history: HAW, HAW-Reg, ATWHC, as their authors would have written them.
HISTORY = [PASTED[name] for name in ("haw", "haw_reg", "atwhc")]


def start(arguments: list[str], directory: Path) -> subprocess.Popen[str]:
    """`python -m mtlsweep.protocol ARGUMENTS` as a process of its own, one thread, in this directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "mtlsweep.protocol", *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as from a terminal
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def protocol(*arguments: str, directory: Path) -> Ended:
    """The same within this process, which has loaded torch already; checks and sweeps are processes of their own all the same."""
    out, err = io.StringIO(), io.StringIO()
    one_thread = mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"})
    with contextlib.chdir(directory), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), one_thread:
        try:
            status = main(arguments)
        except SystemExit as end:  # of argparse
            status = int(end.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())


def chained(lines: list[dict[str, Any]]) -> str:
    """The text of a ledger with these lines whose hashes are all right: what a forger makes."""
    made: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        of = line | {"number": number, "previous": made[-1]["hash"] if made else START}
        made.append(of | {"hash": _hash(of)})
    return "".join(f"{json.dumps(line)}\n" for line in made)


def fake_entry(path: Path, best: dict[str, float], **setting: Any) -> Path:
    """A submitted entry, of the benchmark's setting unless `schedule` or another group is given, whose runs nobody has trained."""
    shared = SETTING | {"engine": {"precision": "auto"}} | setting
    entry = Entry.create(path, 3)
    stored = path / "versions" / "1" / "my_loss.py"
    stored.parent.mkdir(parents=True)
    stored.write_text(f"# {path.name}\n{HISTORY[0]}")
    source = digest(stored)
    assert source
    line = {"file": "versions/1/my_loss.py", "sha256": source, "setting": shared, "seeds": list(SEEDS), "overrides": "", "code": {}}
    entry.record("begin", trial=1, rehearsal=bool(departures(shared, list(SEEDS))), **line)
    entry.record("finish", trial=1, runs=_fake_runs(path, VISIBLE, shared, source, best))
    entry.record("submit", trial=1, overrides="", code={})
    held_out = _fake_runs(path, HELD_OUT, shared, source, best)
    files.write_json(path / FINAL, final_entry(entry, held_out))
    entry.record("close", runs=held_out, entry=digest(path / FINAL))
    return path


def _fake_runs(entry: Path, models: tuple[str, ...], setting: dict[str, Any], source: str, best: dict[str, float]) -> dict[str, Any]:
    runs: dict[str, Any] = {}
    for model in models:
        for place, seed in enumerate(SEEDS):
            relative, signature = f"runs/{model}/user-file/cosine200/seed{seed}", run_signature(setting, model, seed, source)
            folder = entry / relative
            folder.mkdir(parents=True)
            accuracy = best[model] + place - 1
            result = {
                "schema": 1,
                "signature": signature,
                "status": "completed",
                "best_fine_acc": accuracy,
                "last_fine_acc": accuracy - 0.5,
                "epochs": setting["schedule"]["epochs"],
            }
            identity = run_identity(setting, model, seed, source)
            (folder / "run.json").write_text(json.dumps({"schema": 1, "signature": signature, "identity": identity}))
            (folder / "result.json").write_text(json.dumps(result))
            rows = [f"{epoch},{accuracy - 0.5 * (epoch > 1)}" for epoch in range(1, result["epochs"] + 1)]
            (folder / "metrics.csv").write_text("\n".join(["epoch,test_fine_acc", *rows]) + "\n")
            runs.setdefault(model, {})[str(seed)] = read_run(entry, relative)
    return runs
