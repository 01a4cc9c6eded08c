"""Data sheets are whole, a machine is measured, and what there is not is refused with what there is."""

from __future__ import annotations

import pytest
import torch

from summarizer.errors import UserError
from summarizer.planning import devices
from summarizer.planning.devices import DEVICES, find_device
from summarizer.runtime import Precision


@pytest.mark.parametrize("name", DEVICES)
def test_a_data_sheet_is_of_possible_numbers_and_named(name: str) -> None:
    device = DEVICES[name]
    assert device.name == name
    assert 1e10 < device.memory < 1e12
    assert 1e11 < device.bandwidth < 1e13
    assert 1e10 <= device.link < device.bandwidth
    assert 1e12 < device.peaks[Precision.fp32] < device.peaks[Precision.fp16] < 1e16
    assert device.peak(Precision.auto) == device.peaks[device.best_precision]
    assert "NVIDIA" in device.source


def test_a_precision_that_a_device_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(UserError, match=r"bf16.*v100.*fp16, fp32"):
        DEVICES["v100"].peak(Precision.bf16)


def test_an_unknown_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"device \(h900\) must be this, or one of .*h100"):
        find_device("h900", gpus=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_processes_of_a_cpu_share_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "matmul_peak", lambda device, dtype: 1e11 if dtype is torch.float32 else 5e10)
    monkeypatch.setattr(devices, "memory_bandwidth", lambda device: 3e10)
    alone, half = (find_device("this", gpus=gpus) for gpus in (1, 2))
    assert half.memory == alone.memory / 2
    assert half.is_cpu
    assert (alone.peak(Precision.auto), half.peak(Precision.auto)) == (1e11, 5e10)
    assert Precision.bf16 not in half.peaks, "slower than fp32: nobody should plan with that"
    assert half.link < half.bandwidth == 1.5e10
