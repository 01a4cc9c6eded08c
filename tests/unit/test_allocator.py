"""What was freed is taken again, instead of pages that the system has to clear first."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from summarizer import allocator

PAGES = 12_000  # more than glibc keeps by itself

# In a process of its own, for there is no way back.
PROGRAM = f"""
import resource
from summarizer.allocator import keep_freed_memory

def new_pages() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray({PAGES} * 4096)
    block[::4096] = bytes({PAGES})  # touches each page
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [new_pages() for _ in range(3)]
assert keep_freed_memory()
after = [new_pages() for _ in range(3)]
print(*before, *after)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_a_large_block_is_got_from_what_was_freed() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    faults = [int(count) for count in output.split()]
    assert min(faults[:3]) >= PAGES, "the system is asked for every page each time"
    assert max(faults[4:]) < PAGES / 10, "only the first block is new"


class Glibc:
    """An old release, which refuses large thresholds."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.asked.append((parameter, value))
        return int(parameter == -1 or value <= self.largest)


@pytest.mark.parametrize(
    ("largest", "parameters"), [(2**40, [-3, -1]), (2**25, [-3, -3, -1]), (0, [-3, -3])], ids=["new", "old", "none"]
)
def test_trimming_is_left_alone_unless_the_other_threshold_was_set(
    monkeypatch: pytest.MonkeyPatch, largest: int, parameters: list[int]
) -> None:
    library = Glibc(largest)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: library)
    assert allocator.keep_freed_memory() == (largest > 0)
    assert [parameter for parameter, _ in library.asked] == parameters


def test_a_c_library_that_cannot_be_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
