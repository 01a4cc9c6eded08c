"""How close to its machine a run comes: operations a second beside the most that there can be, and memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from summarizer.machine import matmul_peak, peak_memory
from summarizer.parallel import Processes
from summarizer.runtime import Runtime


@dataclass(frozen=True)
class Gauge:
    """Reads a run's speed by what its devices can do."""

    device: torch.device
    peak: float  # floating-point operations a second that the devices of all processes reach in large matrix products

    @classmethod
    def measured(cls, runtime: Runtime, processes: Processes) -> Gauge:
        """All processes call it at the same time, as they will compute at the same time. Takes 0.1 s on a CPU core."""
        processes.exchange(None)
        peak = matmul_peak(runtime.device, runtime.matmul_type, repeats=3)
        if runtime.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(runtime.device)  # the matrices are not the run's
        return cls(runtime.device, float(processes.sum(torch.tensor(peak, dtype=torch.float64))))

    def read(self, flops: int, seconds: float) -> dict[str, float]:
        """Of so many operations: how many a second; what share that is of the peak, the model FLOPs utilisation of
        Chowdhery et al. 2022; and the most memory that this process has held.
        """
        rate = flops / max(seconds, 1e-9)
        return {
            "tflops_per_second": rate / 1e12,
            "mfu": rate / self.peak,
            "peak_memory_gib": peak_memory(self.device) / 2**30,
        }
