"""C++ of our own, compiled for the processor that executes it when it is first used."""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from mtlsweep.train import processor

COMPILERS = ("g++", "c++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
# What functions take: numbers, and where an array begins.
LONG, INT, DOUBLE, ARRAY = ctypes.c_long, ctypes.c_int, ctypes.c_double, ctypes.c_void_p


@cache
def load(source: Path) -> ctypes.CDLL:
    """A source file as a library. Compiled, which takes a second, it is kept in the user's cache.

    Args:
        source: which exports `threads` (openmp.h), by which OpenMP executes a region.

    Raises:
        OSError: there is no compiler.
        RuntimeError: it failed, or its OpenMP is another than torch's.
    """
    name = f"{source.stem}-{_key(source)}.so"
    try:
        library = _in(_cache(), name, source)
    except OSError:  # nothing can be kept there, or not be executed
        with tempfile.TemporaryDirectory(prefix="mtlsweep-") as folder:
            library = _in(Path(folder), name, source)
    _check_threads(library)
    return library


def _in(folder: Path, name: str, source: Path) -> ctypes.CDLL:
    """Compiled where it is not there yet, by which a machine without a compiler can use what another one has kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        _build([*_compiler(), *OPTIONS, str(source), *_openmp()], folder / name)
    return ctypes.CDLL(str(folder / name))


def call(function: Callable[..., None], *values: Any) -> None:
    """Call a function of a library, with a tensor for each array, or None. They are alive until it has returned."""
    function(*(value.data_ptr() if isinstance(value, torch.Tensor) else value for value in values))


def _compiler() -> list[str]:
    """The environment's choice, as of torch's compiler, or the first that there is."""
    if chosen := os.environ.get("CXX"):
        return shlex.split(chosen)
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        raise FileNotFoundError("no C++ compiler")
    return [found]


def _openmp() -> list[str]:
    """torch's own where it brings one: under another name than the compiler's it would not be found to be the same."""
    return ["-Wl,--as-needed", *map(str, sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")))]


def _cache() -> Path:
    """Where libraries are kept.

    Raises:
        OSError: the user has no home.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "mtlsweep"
    try:
        return Path("~/.cache/mtlsweep").expanduser()
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _key(source: Path) -> str:
    """Of all that the result depends on: the machines of a cluster share their cache, and not their instructions."""
    parts = [*OPTIONS, *_openmp(), os.environ.get("CXX", ""), *processor.kind()]
    files = [source, *sorted(source.parent.glob("*.h"))]
    return hashlib.sha256(b"\0".join([*(file.read_bytes() for file in files), *(part.encode() for part in parts)])).hexdigest()[:16]


def _build(command: list[str], built: Path) -> None:
    """Whoever comes at the same time sees all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        new = Path(folder) / built.name
        english = os.environ | {"LC_ALL": "C"}
        done = subprocess.run([*command, "-o", str(new)], capture_output=True, text=True, env=english)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")
        new.replace(built)


def _check_threads(library: ctypes.CDLL) -> None:
    """Two OpenMPs in a process would have two sets of threads, of which each waits while the other works, and not idly."""
    before = torch.get_num_threads()
    try:
        for count in (before + 1, before):
            torch.set_num_threads(count)
            if library.threads() != count:
                raise RuntimeError("the compiler's OpenMP is not torch's")
    finally:
        torch.set_num_threads(before)
