"""A device and a precision in; how fast it multiplies large matrices, which nothing can surpass, out."""

from __future__ import annotations

import time

import torch

from summarizer.runtime import Precision, Runtime

_SIZE = {"cpu": 2048, "cuda": 8192}
_TYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


def matmul_peak(runtime: Runtime, *, repeats: int = 5) -> float:
    """Floating-point operations a second in the best of ``repeats`` products, a multiply-add being two."""
    size = _SIZE.get(runtime.device.type, 2048)
    left, right = (torch.randn(size, size, device=runtime.device).to(_TYPES[runtime.precision]) for _ in range(2))
    best = float("inf")
    for _ in range(1 + repeats):
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        started = time.perf_counter()
        torch.mm(left, right)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
