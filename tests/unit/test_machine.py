"""What a machine gives is measured quickly, plausibly, and without a trace."""

from __future__ import annotations

import time

import pytest
import torch

from summarizer.machine import matmul_peak, memory_bandwidth, memory_size, peak_memory, processor_name

CPU = torch.device("cpu")


def test_no_work_is_done_faster_than_the_peak() -> None:
    peak = matmul_peak(CPU, torch.float32)
    left = torch.randn(512, 512)
    started = time.perf_counter()
    for _ in range(10):
        left @ left
    assert 1e8 < 10 * 2 * 512**3 / (time.perf_counter() - started) < 1.5 * peak


def test_the_peak_is_in_operations_of_the_type_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplied: list[torch.Tensor] = []
    clock = iter(range(100))
    monkeypatch.setattr(torch, "mm", lambda left, right: multiplied.append(left))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    peak = matmul_peak(CPU, torch.bfloat16, repeats=2)  # one to warm up, each of them takes a second
    assert {(each.dtype, each.shape) for each in multiplied} == {(torch.bfloat16, (1024, 1024))}
    assert len(multiplied) == 3
    assert peak == 2 * 1024**3


def test_measuring_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    matmul_peak(CPU, torch.float32, repeats=1)
    memory_bandwidth(CPU, repeats=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_that_of_the_machine_and_of_this_process() -> None:
    before = peak_memory(CPU)
    held = torch.ones(1 << 28, dtype=torch.uint8)
    assert peak_memory(CPU) >= held.nbytes
    assert before <= peak_memory(CPU) < memory_size(CPU)
    assert memory_bandwidth(CPU, repeats=1) > 1e8


def test_the_processor_has_a_name() -> None:
    assert processor_name()


@pytest.mark.gpu
def test_a_gpu_is_measured() -> None:
    device = torch.device("cuda")
    assert matmul_peak(device, torch.bfloat16) > 1e12
    assert memory_bandwidth(device) > 1e10
    before = peak_memory(device)
    held = torch.ones(1 << 28, dtype=torch.uint8, device=device)
    assert held.nbytes <= peak_memory(device) <= before + 2 * held.nbytes
    assert peak_memory(device) < memory_size(device)
