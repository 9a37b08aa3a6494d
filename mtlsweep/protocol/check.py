"""Checks an author's file in a process of its own, within limits of time and memory, so that whatever it does costs no trial."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mtlsweep.errors import UserError
from mtlsweep.protocol.entry import FILE
from mtlsweep.protocol.request import ROOT

# What a file may take: seconds, counted from when torch has been loaded, and bytes beyond torch's own.
SECONDS = 30.0
MEMORY = 2 * 2**30
START_SECONDS = 600.0

_STAGES = (b"ready", b"loaded")
# What the file is doing from one stage of `probe` to the next.
_DOING = {"": "torch is still being loaded", "ready": "it is still being imported", "loaded": "its steps have not ended"}


def check(content: bytes) -> None:
    """Import a file of this content and take a few steps with it, in `SECONDS` and with `MEMORY` at most.

    Raises:
        UserError: it has a fault, in one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, FILE)
        file.write_bytes(content)
        fault = _fault(file)
    if fault:
        raise UserError(f"{fault} (not counted as a trial)")


def _fault(file: Path) -> str | None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mtlsweep.protocol.probe", str(file), str(writer), str(MEMORY)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writer,),
        start_new_session=True,  # with all that it starts it is ended below
    )
    os.close(writer)
    try:
        return _listen(reader, process)
    finally:
        os.close(reader)
        end_group(process)


def _listen(reader: int, process: subprocess.Popen[bytes]) -> str | None:
    heard, stage, deadline = b"", "", time.monotonic() + START_SECONDS
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return f"{FILE}: {_DOING[stage]} after {SECONDS if stage else START_SECONDS:g} s: the check was ended"
        received = os.read(reader, 65536)
        if not received:
            return f"{FILE}: ended the process that checks it ({_status(process)})"
        heard += received
        *lines, heard = heard.split(b"\n")
        for line in lines:
            if line in _STAGES:
                deadline = deadline if stage else time.monotonic() + SECONDS
                stage = line.decode()
            else:
                return _verdict(line)


def _verdict(line: bytes) -> str | None:
    try:
        fault = json.loads(line)["fault"]
    except (ValueError, TypeError, LookupError):
        return f"{FILE}: wrote where only its check may"
    return None if fault is None else str(fault)


def _status(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that began a session, and all that it has started in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
