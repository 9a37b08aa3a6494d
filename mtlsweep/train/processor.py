"""What the processor says of itself, where Linux shows it."""

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def facts() -> Mapping[str, str]:
    """The first core's lines of `/proc/cpuinfo` by name; none on other systems."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().partition("\n\n")[0].splitlines() if info.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def name() -> str:
    """As its maker names it, e.g. "AMD EPYC"."""
    return facts().get("model name") or platform.processor() or platform.machine()


def instructions() -> frozenset[str]:
    """Its extensions in the kernel's words, e.g. "avx512_bf16"."""
    return frozenset(facts().get("flags", "").split())


def kind() -> list[str]:
    """All that tells processors apart which execute different instructions, in x86's words and in ARM's."""
    names = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")
    return [platform.machine(), *(facts().get(name, "") for name in names), *sorted(instructions())]


def lacks_bf16() -> bool:
    """Whether it is known not to multiply bf16 numbers itself: a convolution then takes ten times as long as in fp32 (Zen 3)."""
    return bool(instructions()) and not {"amx_bf16", "avx512_bf16"} & instructions()


def fast_in_bf16() -> bool:
    """Whether products of bf16 numbers take less time than those of fp32.

    With matrix instructions (AMX) they do. With the vector instruction they do on AMD's processors: a step takes two thirds of the time
    (Zen 4); an Intel Xeon gained nothing (both in benchmarks/README.md).
    """
    return "amx_bf16" in instructions() or ("avx512_bf16" in instructions() and facts().get("vendor_id") == "AuthenticAMD")
