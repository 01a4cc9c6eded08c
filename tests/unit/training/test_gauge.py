"""The peak is that of all processes together, in the numbers that are multiplied in training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from summarizer.parallel import Processes
from summarizer.runtime import Precision, Runtime
from summarizer.training import gauge
from summarizer.training.gauge import Gauge

CPU = torch.device("cpu")


class Four(Processes):
    """Each as fast as this one."""

    def exchange(self, value: object) -> list[object]:  # type: ignore[override]
        return [value] * 4

    def sum(self, values: Tensor) -> Tensor:
        return 4 * values


@pytest.mark.parametrize(("precision", "dtype"), [(Precision.fp32, torch.float32), (Precision.bf16, torch.bfloat16)])
def test_peaks_add_up(monkeypatch: pytest.MonkeyPatch, precision: Precision, dtype: torch.dtype) -> None:
    peaks = {(CPU, dtype): 5e9}
    monkeypatch.setattr(gauge, "matmul_peak", lambda device, dtype, repeats: peaks[device, dtype])
    assert Gauge.measured(Runtime(CPU, precision), Four(0, 4)).peak == 20e9


def test_no_time_at_all_is_no_error() -> None:
    assert Gauge(CPU, peak=1.0).read(0, 0.0)["mfu"] == 0.0
