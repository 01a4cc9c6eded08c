"""The same updates by one process and by several, in turn: how much faster many are, and how much they wait.

Strong scaling: a batch stays what it is, and each process computes its share of the rows.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from summarizer.benchmark.worker import Serve, Worker, started
from summarizer.benchmark.workload import TrainingWorkload, planned_batches
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.parallel import Processes, joined
from summarizer.runtime import RuntimeConfig, Strategy, seed_step, set_up
from summarizer.sharding import shard
from summarizer.tables import markdown_table
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What all groups of processes train."""

    model: TransformerConfig
    vocab_size: int
    workload: TrainingWorkload
    seed: int
    runtime: RuntimeConfig


@dataclass(frozen=True)
class GroupTimes:
    """How one group of processes did, round by round."""

    size: int
    strategy: str  # empty for one process
    seconds: list[float]
    exchanging: list[
        float
    ]  # seconds of each round that a process spent in exchanges and waiting for others, on average

    @property
    def name(self) -> str:
        return "1 process" if self.size == 1 else f"{self.size} processes, {self.strategy}"


@dataclass(frozen=True)
class Scaling:
    """All groups; the first has one process."""

    updates: int
    real_tokens: int  # of one round
    threads: int  # of each process
    groups: list[GroupTimes]


def measure_scaling(task: Task, *, most_processes: int, repeats: int) -> Scaling:
    """One process, then 2, 4, ... up to ``most_processes``, with each strategy. Every group works in every round.

    Raises UserError where a process cannot be set up.
    """
    runtime = replace(task.runtime, num_threads=task.runtime.num_threads or 1)
    task = replace(task, runtime=runtime)
    sizes = [size for size in (2**power for power in range(1, 12)) if size < most_processes] + [most_processes]
    kinds = [(1, Strategy.ddp), *((size, strategy) for size in sizes for strategy in Strategy)]
    batches = planned_batches(task.workload, task.vocab_size, seed=task.seed)
    with ExitStack() as stack:
        teams = [_team(task, size, strategy, stack) for size, strategy in kinds]
        times: list[list[tuple[float, float]]] = [[] for _ in teams]
        with tqdm(total=(1 + repeats) * len(teams), desc="scaling", unit="run", disable=None) as bar:
            for _ in range(1 + repeats):
                for team, rounds in zip(teams, times, strict=True):
                    rounds.append(_round(team))
                    bar.update()
    groups = [
        GroupTimes(size, strategy.value if size > 1 else "", *map(list, zip(*rounds[1:], strict=True)))
        for (size, strategy), rounds in zip(kinds, times, strict=True)
    ]
    return Scaling(len(batches), sum(batch.num_real_tokens for batch in batches), runtime.num_threads or 1, groups)


def scaling_table(scaling: Scaling) -> str:
    """Markdown. Ratios are medians over rounds, for a slow minute of the machine is everybody's."""
    alone = scaling.groups[0]
    rows = [["", "real tokens/s", "speed-up", "efficiency", "exchanging and waiting"]]
    for group in scaling.groups:
        speed_up = statistics.median(one / many for one, many in zip(alone.seconds, group.seconds, strict=True))
        share = statistics.median(part / all_ for part, all_ in zip(group.exchanging, group.seconds, strict=True))
        is_told = group.size == 1 or group.strategy == Strategy.ddp.value
        rows.append(
            [
                group.name,
                f"{scaling.real_tokens / statistics.median(group.seconds):,.0f}",
                f"{speed_up:.2f}",
                f"{speed_up / group.size:.0%}",
                f"{share:.1%}" if is_told else "within the layers",
            ]
        )
    title = (
        f"{scaling.updates} updates of the same batches, {scaling.real_tokens:,} real tokens, "
        f"{scaling.threads} thread{'s' * (scaling.threads != 1)} a process:"
    )
    return f"{title}\n\n{markdown_table(rows)}"


def _team(task: Task, size: int, strategy: Strategy, stack: ExitStack) -> list[Worker]:
    """Processes that train together, and that are ready when this returns."""
    port = _free_port()
    team = [stack.enter_context(started(partial(_joining, task, rank, size, strategy, port))) for rank in range(size)]
    for worker in team:
        worker.answer()
    return team


def _round(team: Sequence[Worker]) -> tuple[float, float]:
    """Seconds by the clock, and those that a process spent in exchanges."""
    began = time.perf_counter()
    for worker in team:
        worker.ask(None)
    exchanging = [worker.answer() for worker in team]
    return time.perf_counter() - began, statistics.mean(exchanging)


@contextmanager
def _joining(task: Task, rank: int, size: int, strategy: Strategy, port: int) -> Iterator[Serve]:
    """In a process of its own: the round of a member of the team."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
    with joined() as processes:
        yield _trainer(task, _Timed(processes), strategy)


def _trainer(task: Task, processes: _Timed, strategy: Strategy) -> Serve:
    """One round: an update for each batch. Returns the seconds spent in exchanges."""
    runtime = set_up(task.runtime, processes.local_rank)
    seed_step(task.seed, 0)
    model = Transformer(task.model, task.vocab_size)
    if processes.size > 1 and strategy is Strategy.fsdp:
        shard(model, [*model.encoder_layers, *model.decoder_layers], runtime.device)
    else:
        model.to(runtime.device)
    updater = Updater(
        model,
        build_optimizer(model, OptimizerConfig()),
        runtime=runtime,
        learning_rate=lambda step: 1e-4,
        label_smoothing=0.0,
        clip_norm=1.0,
        seed=task.seed,
        processes=processes,
    )
    batches = planned_batches(task.workload, task.vocab_size, seed=task.seed, rank=processes.rank, size=processes.size)
    steps = count(1)

    def run(_: object) -> float:
        processes.seconds = 0.0
        for batch in batches:
            updater(next(steps), [batch])
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        return processes.seconds

    return run


class _Timed(Processes):
    """Adds up the seconds in exchanges, which are also those of waiting for whoever comes last."""

    def __init__(self, processes: Processes) -> None:
        super().__init__(processes.rank, processes.size, processes.local_rank)
        self.seconds = 0.0

    @contextmanager
    def _timing(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def exchange(self, value: T) -> list[T]:
        with self._timing():
            return super().exchange(value)

    def sum(self, values: Tensor) -> Tensor:
        with self._timing():
            return super().sum(values)

    def largest(self, number: int) -> int:
        with self._timing():
            return super().largest(number)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        with self._timing():
            super().sum_gradients(parameters)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
