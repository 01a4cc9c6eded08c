"""Mechanisms and lengths in; parameters, operations, time and memory of one mixer, forward and backward, out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from summarizer.comparison.flops import count_flops
from summarizer.comparison.mechanisms import Mechanism, build_mixer, num_parameters
from summarizer.errors import UserError
from summarizer.measurement import peak_bytes
from summarizer.runtime import Runtime, seed_step


@dataclass(kw_only=True)
class CostConfig:
    """At which lengths the cost is measured, and how often."""

    lengths: list[int] = field(default_factory=lambda: [128, 256, 512, 1024, 2048])
    """Positions of the one sequence of a batch."""

    repeats: int = 5
    """Timings of each, of which the median counts."""

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        if not self.lengths:
            raise UserError("cost.lengths ([]) must name a length: try cost.lengths=[128,1024]")
        if min(self.lengths) < 1:
            raise UserError(f"cost.lengths ({min(self.lengths)}) must be at least 1")
        if self.repeats < 1:
            raise UserError(f"cost.repeats ({self.repeats}) must be at least 1")


@dataclass(frozen=True)
class CostPoint:
    """One sequence through one mixer, forward and backward: :func:`flops.count_flops`, median time, peak memory."""

    flops: int
    seconds: float  # on a CPU those of all its threads together, whatever else the machine does; else of the clock
    peak_bytes: int  # beyond parameters, their gradients and the input


@dataclass(frozen=True)
class Cost:
    """What one mechanism costs."""

    mechanism: str
    parameters: int
    by_length: dict[int, CostPoint]


def measure_costs(
    mechanisms: Sequence[Mechanism],
    config: CostConfig,
    *,
    width: int,
    num_heads: int,
    seed: int,
    runtime: Runtime,
    on_step: Callable[[], object],
) -> list[Cost]:
    """Of each mechanism alone, without feed-forward networks or anything else around it.

    :param on_step: called after each length of each mechanism has been timed once, warm-up included.
    """
    seed_step(seed, 0)
    mixers = [build_mixer(each, width=width, num_heads=num_heads).to(runtime.device) for each in mechanisms]
    points: list[dict[int, CostPoint]] = [{} for _ in mechanisms]
    for length in config.lengths:
        hidden_BTD = torch.randn(1, length, width, device=runtime.device, requires_grad=True)
        works = [_work(mixer, hidden_BTD, runtime) for mixer in mixers]
        all_seconds = _interleaved_seconds(works, config.repeats, runtime.device, on_step)
        for mechanism, work, seconds, by_length in zip(mechanisms, works, all_seconds, points, strict=True):
            by_length[length] = CostPoint(
                flops=count_flops(mechanism, length, width=width, num_heads=num_heads),
                seconds=seconds,
                peak_bytes=peak_bytes(work, runtime.device),
            )
    return [
        Cost(mechanism.name, num_parameters(mixer), by_length)
        for mechanism, mixer, by_length in zip(mechanisms, mixers, points, strict=True)
    ]


def num_timings(config: CostConfig) -> int:
    """How often :func:`measure_costs` calls ``on_step`` for each mechanism."""
    return len(config.lengths) * (1 + config.repeats)


def _work(mixer: nn.Module, hidden_BTD: Tensor, runtime: Runtime) -> Callable[[], None]:
    def forward_and_backward() -> None:
        with runtime.autocast():
            output_BTD = mixer(hidden_BTD)
        output_BTD.sum().backward()

    return forward_and_backward


def _interleaved_seconds(
    works: Sequence[Callable[[], None]], repeats: int, device: torch.device, on_step: Callable[[], object]
) -> list[float]:
    """The median time of each. Each in its turn, so that a slow minute of the machine is everybody's."""
    timings: list[list[float]] = []
    for _ in range(1 + repeats):
        timings.append([])
        for work in works:
            timings[-1].append(_seconds(work, device))
            on_step()
    return [statistics.median(of_one) for of_one in zip(*timings[1:], strict=True)]  # the first round warms up


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started
