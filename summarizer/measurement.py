"""The most memory that a piece of work holds at once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes on ``device`` that ``work`` held at once, of tensors that it made; on CUDA less what it let go of
    older ones."""
    return _peak_on_cuda(work, device) if device.type == "cuda" else _peak_on_cpu(work)


def _peak_on_cuda(work: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(work: Callable[[], object]) -> int:
    """From the profiler's record of every allocation and release."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when it first starts, which it else tells on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    now = peak = 0
    sizes: dict[int, int] = {}  # by address, of what is held
    for event in sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"]):
        address, change = event["args"]["Addr"], event["args"]["Bytes"]
        if change > 0:
            sizes[address] = change
            now += change
        else:  # what is older was never counted, of which the profiler knows the size only if another one saw it made
            now -= sizes.pop(address, 0)
        peak = max(peak, now)
    return peak
