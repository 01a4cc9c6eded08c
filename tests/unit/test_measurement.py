"""Memory is counted as tensors come and go."""

from __future__ import annotations

import torch

from summarizer.measurement import peak_bytes

CPU = torch.device("cpu")
KIB = 2**10


def allocated(kib: int) -> torch.Tensor:
    return torch.zeros(kib * KIB, dtype=torch.uint8)


def test_the_peak_is_of_what_is_held_at_once() -> None:
    def work() -> None:
        first = allocated(300)
        del first
        second, third = allocated(200), allocated(200)
        del second, third

    assert peak_bytes(work, CPU) == 400 * KIB


def test_it_is_of_the_works_own_tensors_whoever_saw_the_older_ones_made() -> None:
    """An update lets go of the last one's gradients, which an earlier measurement may or may not have seen."""
    held: list[torch.Tensor] = []

    def work() -> None:
        held.clear()
        held.append(allocated(500))

    work()
    assert [peak_bytes(work, CPU) for _ in range(3)] == [500 * KIB] * 3
