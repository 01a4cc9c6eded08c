"""Names of devices in; what their data sheets say, or what is measured here, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from summarizer.errors import UserError
from summarizer.machine import matmul_peak, memory_bandwidth, memory_size, processor_name
from summarizer.runtime import Precision

THIS = "this"

_TERA, _GIGA = 1e12, 1e9
# Between two processes of one CPU, of gradients that are joined, sent through sockets, added up and handed out again:
# 9 to 40 million of them went at 1.0 GB/s where memory gave each process 12 (gloo over loopback, two cores).
_PASSES_OF_A_MESSAGE = 12


@dataclass(frozen=True)
class Device:
    """One GPU, or one process on a CPU."""

    name: str
    memory: float  # bytes
    peaks: Mapping[Precision, float]  # floating-point operations a second in dense matrix products
    bandwidth: float  # bytes a second from and to its memory
    link: float  # bytes a second in each direction to another one of the same machine
    source: str  # where this is from
    is_cpu: bool = False

    def peak(self, precision: Precision) -> float:
        """In ``precision``; for auto, in what :meth:`best_precision` chooses. UserError if it has none of that."""
        chosen = self.best_precision if precision is Precision.auto else precision
        if chosen not in self.peaks:
            raise UserError(
                f"runtime.precision ({precision.value}) must be one that device ({self.name}) multiplies: "
                f"{', '.join(each.value for each in self.peaks)}"
            )
        return self.peaks[chosen]

    @property
    def best_precision(self) -> Precision:
        return Precision.bf16 if Precision.bf16 in self.peaks else Precision.fp32


def _sheet(
    name: str, *, gigabytes: float, bf16: float, fp16: float, fp32: float, bandwidth: float, link: float, sheet: str
) -> Device:
    """Of a data sheet, in GB, TFLOP/s of dense products (fp32 in TF32 where there is that), and GB/s. 0: has none."""
    peaks = {Precision.bf16: bf16, Precision.fp16: fp16, Precision.fp32: fp32}
    return Device(
        name,
        gigabytes * _GIGA,
        {precision: _TERA * peak for precision, peak in peaks.items() if peak},
        _GIGA * bandwidth,
        _GIGA * link,
        sheet,
    )


# Data sheets give links in both directions together: half of that is here. fp32 is what PyTorch multiplies float32 in
# as runtime.py sets it up: TF32, from Ampere on. Sheets from Ampere on put products of sparse matrices first, twice as
# fast: here is always half of that. Each figure was held in November 2026 against pages that repeat the sheet.
DEVICES = {
    device.name: device
    for device in (
        # 1,440 GB and 64 TB/s of eight; TF32 18 PFLOP/s of eight, sparse; NVLink 5 1,800 GB/s both ways. The chip's own
        # figures: glennklockwood.com/garden/processors/B200; memory as eight of them have it: docs.vultr.com
        _sheet("b200", gigabytes=180, bf16=2250, fp16=2250, fp32=1125, bandwidth=8000, link=900,
               sheet="NVIDIA DGX B200 data sheet (2024), an eighth of it"),
        # Sparse: bf16 1,979, TF32 989; NVLink 4 900 GB/s both ways: aiwiki.ai/wiki/nvidia_h200
        _sheet("h200", gigabytes=141, bf16=989, fp16=989, fp32=494, bandwidth=4800, link=450,
               sheet="NVIDIA H200 data sheet (2024), SXM"),
        # As the H200 but for the memory: archive-lib.hpctech.co.jp/gpuproduct/nvidia-h100.html
        _sheet("h100", gigabytes=80, bf16=989, fp16=989, fp32=494, bandwidth=3350, link=450,
               sheet="NVIDIA H100 data sheet (2023), SXM5"),
        # Sparse: bf16 1,513, TF32 756; PCIe 5 128 GB/s both ways: the same page
        _sheet("h100_pcie", gigabytes=80, bf16=756, fp16=756, fp32=378, bandwidth=2000, link=64,
               sheet="NVIDIA H100 data sheet (2023), PCIe without NVLink bridge"),
        # Dense: bf16 312, TF32 156; NVLink 3 600 GB/s both ways: glennklockwood.com/garden/processors/A100
        _sheet("a100", gigabytes=80, bf16=312, fp16=312, fp32=156, bandwidth=2039, link=300,
               sheet="NVIDIA A100 data sheet (2021), 80 GB SXM"),
        _sheet("a100_40gb", gigabytes=40, bf16=312, fp16=312, fp32=156, bandwidth=1555, link=300,
               sheet="NVIDIA A100 data sheet (2021), 40 GB SXM"),
        # Dense: bf16 362.05, TF32 183; PCIe 4 64 GB/s both ways: mullet.se, NVIDIA L40S
        _sheet("l40s", gigabytes=48, bf16=362, fp16=362, fp32=183, bandwidth=864, link=32,
               sheet="NVIDIA L40S data sheet (2023)"),
        # Sparse: bf16 242, TF32 120; PCIe 4 64 GB/s both ways: grokipedia.com/page/NVIDIA_L4_vs_L40S
        _sheet("l4", gigabytes=24, bf16=121, fp16=121, fp32=60, bandwidth=300, link=32,
               sheet="NVIDIA L4 data sheet (2023)"),
        # fp16 by tensor cores: developer.nvidia.com/programming-tensor-cores-cuda-9-0; fp32 without: grokipedia.com.
        # NVLink 2 300 GB/s both ways, which was not found again.
        _sheet("v100", gigabytes=32, bf16=0, fp16=125, fp32=15.7, bandwidth=900, link=150,
               sheet="NVIDIA V100 data sheet (2020), 32 GB SXM2"),
        # Memory of 256 bits at 10 Gbit/s; PCIe 3 32 GB/s both ways: sysrqmts.com/en/gpus/nvidia/tesla/t4
        _sheet("t4", gigabytes=16, bf16=0, fp16=65, fp32=8.1, bandwidth=320, link=16,
               sheet="NVIDIA T4 data sheet (2019)"),
    )
}  # fmt: skip


def find_device(name: str, *, gpus: int) -> Device:
    """The device called ``name``; "this" is measured, which takes a second. Raises UserError if there is none.

    :param gpus: how many. On a CPU they are processes, which share out what there is.
    """
    if name == THIS:
        return _this_device(gpus)
    if name not in DEVICES:
        raise UserError(f"device ({name}) must be {THIS}, or one of {', '.join(DEVICES)}")
    return DEVICES[name]


def _this_device(gpus: int) -> Device:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    types = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}
    peaks = {precision: matmul_peak(device, dtype) for precision, dtype in types.items()}
    bandwidth = memory_bandwidth(device)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return Device(name, memory_size(device), peaks, bandwidth, 32 * _GIGA, "measured here; links as of PCIe 4")
    return Device(
        f"{processor_name()}, {torch.get_num_threads()} threads",
        memory_size(device) / gpus,
        {precision: peak / gpus for precision, peak in peaks.items() if _is_worth_it(precision, peaks)},
        bandwidth / gpus,
        bandwidth / gpus / _PASSES_OF_A_MESSAGE,
        "measured here" + (f", shared out among {gpus} processes" if gpus > 1 else ""),
        is_cpu=True,
    )


def _is_worth_it(precision: Precision, peaks: Mapping[Precision, float]) -> bool:
    """A CPU without instructions for bf16 has it, more slowly than fp32: nobody should plan with that."""
    return peaks[precision] >= peaks[Precision.fp32]
