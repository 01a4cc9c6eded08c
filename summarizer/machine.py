"""What a device gives, which nothing that runs on it can surpass, and what this process takes of its memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

_MATRIX = {"cpu": 1024, "cuda": 8192}  # rows: as large as reaches the peak, and no larger
_COPIED = {"cpu": 1 << 27, "cuda": 1 << 30}  # bytes: more than any cache holds


def matmul_peak(device: torch.device, dtype: torch.dtype, *, repeats: int = 6) -> float:
    """Floating-point operations a second in the best of ``repeats`` large products, a multiply-add being two.

    Takes 0.2 s on one CPU core. Leaves the global random state alone.
    """
    size = _MATRIX.get(device.type, 1024)
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    return 2 * size**3 / _best_seconds(lambda: torch.mm(left, right), device, repeats)


def memory_bandwidth(device: torch.device, *, repeats: int = 4) -> float:
    """Bytes a second, read and written, in the best of ``repeats`` copies from memory to memory."""
    source = torch.ones(_COPIED.get(device.type, 1 << 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best_seconds(lambda: target.copy_(source), device, repeats)


def memory_size(device: torch.device) -> int:
    """Bytes of memory that the device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory(device: torch.device) -> int:
    """The most bytes of the device's memory that this process has held so far; asking does not make a GPU wait.

    Of a GPU its tensors, of a CPU the whole process.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest  # which counts bytes, where others count KiB


def processor_name() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _best_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Of ``repeats`` times, after one to warm up."""
    best = float("inf")
    for _ in range(1 + repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was asked to; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
