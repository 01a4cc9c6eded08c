"""What was freed is taken again, instead of pages that the system has to clear first; kernels do not pile up."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


# The capacities are read at the first product, and there is no way back from that either.
PRODUCTS = """
import os, sys, torch
from summarizer.runtime import DeviceKind, Precision, RuntimeConfig, set_up

def held() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

def grown() -> int:
    weight = torch.ones(64, 64)
    with torch.no_grad():
        for rows in range(1, 700):
            torch.ops.mkldnn._linear_pointwise(torch.ones(rows, 64), weight, None, "none", [], "")
            if rows == 100:
                before = held()
    return held() - before

for is_set_up in (False, True):
    if os.fork() == 0:
        if is_set_up:
            set_up(RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1))
        print(grown(), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(
    not (Path("/proc/self/status").exists() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="needs /proc and oneDNN",
)
def test_kernels_for_shapes_that_have_gone_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 more shapes of one small product, in KiB."""
    for name in allocator._KERNEL_CACHES:
        monkeypatch.delenv(name, raising=False)
    output = subprocess.run([sys.executable, "-c", PRODUCTS], check=True, capture_output=True, text=True).stdout
    by_itself, set_up = map(int, output.split())
    assert set_up < by_itself / 5


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator._KERNEL_CACHES:
        monkeypatch.setenv(name, "7")
    allocator.keep_few_kernels()
    assert [os.environ[name] for name in allocator._KERNEL_CACHES] == ["7", "7"]


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
