"""Contenders that do the same work in; their times, taken in turn, and what they are worth beside ours, out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

import torch

from summarizer.benchmark.worker import Serve, started
from summarizer.measurement import peak_bytes

OURS = "summarizer"

Work = Callable[[], object]  # all of it, once


@dataclass(frozen=True)
class Contender:
    """Somebody who can do the work. The first of a contest is ours."""

    name: str
    prepare: Callable[[], Work]  # called in a process of its own, which gets it by pickle
    note: str = ""  # what is not quite the same, for people
    amount: float | None = None  # of work in one run, if not that of the contest


@dataclass(frozen=True)
class Contest:
    """One piece of work, and who does it."""

    title: str
    unit: str  # of the amount: "real tokens"
    amount: float  # of work in one run
    contenders: Sequence[Contender]
    flops: float | None = None  # of one run, if the model's are to be compared with the machine's
    measures_memory: bool = False


@dataclass(frozen=True)
class Performance:
    """How one contender did. Ratios are medians over rounds, for a slow minute of the machine is everybody's."""

    name: str
    seconds: list[float]  # of each round, by the clock
    rate: float  # amount a second, in the median round
    ours_is_faster: float  # our rate / theirs, in the median round
    peak_bytes: int | None  # beyond what is held between two runs
    note: str


@dataclass(frozen=True)
class Outcome:
    """A contest that was held."""

    title: str
    unit: str
    amount: float
    flops: float | None
    performances: list[Performance]  # ours first


class _Measure(Enum):
    """What a contender's process is asked for."""

    seconds = auto()
    peak_bytes = auto()


def hold(contest: Contest, *, repeats: int, device: torch.device, on_run: Callable[[], object]) -> Outcome:
    """Everybody in turn, round after round; a first round, to warm up, does not count.

    Each has a process of its own, so that nobody has the memory, the threads or the settings that another one left.

    :param on_run: called after each of the :func:`num_runs`.
    """
    rounds: list[list[float]] = []
    peaks: list[int | None] = [None] * len(contest.contenders)
    with ExitStack() as stack:
        workers = [stack.enter_context(started(partial(_serving, each.prepare, device))) for each in contest.contenders]
        for worker in workers:
            worker.answer()
        for _ in range(1 + repeats):
            rounds.append([])
            for worker in workers:
                worker.ask(_Measure.seconds)
                rounds[-1].append(worker.answer())
                on_run()
        if contest.measures_memory:
            for place, worker in enumerate(workers):
                worker.ask(_Measure.peak_bytes)
                peaks[place] = worker.answer()
    return judge(contest, rounds[1:], peaks)


def num_runs(contest: Contest, repeats: int) -> int:
    """How often :func:`hold` calls ``on_run``."""
    return (1 + repeats) * len(contest.contenders)


def judge(contest: Contest, rounds: Sequence[Sequence[float]], peaks: Sequence[int | None]) -> Outcome:
    """What times are worth.

    :param rounds: the seconds of each contender, in each round that counts.
    """
    performances = [_performance(contest, place, rounds, peak_bytes=peak) for place, peak in enumerate(peaks)]
    return Outcome(contest.title, contest.unit, contest.amount, contest.flops, performances)


def _performance(
    contest: Contest, place: int, rounds: Sequence[Sequence[float]], peak_bytes: int | None
) -> Performance:
    seconds = [times[place] for times in rounds]
    ours, theirs = (contest.contenders[i].amount or contest.amount for i in (0, place))
    return Performance(
        name=contest.contenders[place].name,
        seconds=seconds,
        rate=theirs / statistics.median(seconds),
        ours_is_faster=statistics.median(ours / times[0] / (theirs / times[place]) for times in rounds),
        peak_bytes=peak_bytes,
        note=contest.contenders[place].note,
    )


@contextmanager
def _serving(prepare: Callable[[], Work], device: torch.device) -> Iterator[Serve]:
    """In the process of a contender."""
    work = prepare()
    measures = {_Measure.seconds: _seconds, _Measure.peak_bytes: peak_bytes}
    yield lambda measure: measures[measure](work, device)


def _seconds(work: Work, device: torch.device) -> float:
    gc.collect()  # what the last round left behind is not paid for in this one
    _synchronize(device)
    started_at = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - started_at


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
