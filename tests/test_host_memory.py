"""What a step frees is there for the next."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from mtlsweep.train.host_memory import give_freed_memory_back, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [torch.ones(size << 18) for size in (8, 16, 40, 48)]  # MiB
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

give_freed_memory_back()
given_back = faults()
keep_freed_memory()
faults()
print(given_back, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is not served by glibc here")
def test_memory_that_was_freed_comes_back_without_page_faults() -> None:
    said = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True).stdout
    given_back, kept = map(int, said.split())
    assert given_back > 5 * (112 << 20) / 4096 / 2  # most of it, page by page
    assert kept < given_back / 100
