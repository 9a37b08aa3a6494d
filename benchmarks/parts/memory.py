"""Memory of a process that trains: at its highest, and beyond what the libraries take when they are loaded."""

from collections.abc import Iterator

from benchmarks.parts.startup import TINY, first_step, output
from benchmarks.section import Section
from benchmarks.setting import Setting

LIBRARIES = "import mtlsweep.train; from benchmarks.first_step import peak_memory; print(peak_memory())"
# Enough for the optimizer and the allocator to have all that they will have.
STEPS = 5
TARGET = (
    "target: ResNet-56 under 2,048 MiB beyond the libraries. Peak resident memory of the process, one process each; all training images"
)


def run(setting: Setting) -> Iterator[Section]:
    """One table. `engine=auto`, which compiles a run of 200 epochs: the compiler's own memory is part of the process's."""
    libraries = int(output(["-c", LIBRARIES])) // 1024
    rows = [{"": "the libraries, loaded", "MiB": str(libraries)}]
    found = {"libraries": libraries}
    data = ["data=synthetic", f"data.train_size={200 if setting.quick else 50_000}"]
    for network in setting.networks:
        arguments = [*data, *([*TINY, "engine.compile=false"] if setting.quick else [f"model={network}"])]
        found[network] = peak = int(output(first_step(arguments, setting, STEPS)).split()[-1]) // 1024
        rows.append({"": network, "MiB": str(peak), "beyond the libraries, MiB": str(peak - libraries)})
    yield Section("Memory of a run", rows, [TARGET], found)
