"""Contenders that do the same work in; their times, taken in turn, and what they are worth beside ours, out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from summarizer.measurement import peak_bytes

OURS = "summarizer"


@dataclass(frozen=True)
class Contender:
    """Somebody who can do the work. The first of a contest is ours."""

    name: str
    run: Callable[[], object]  # all of the work, once
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


def hold(contest: Contest, *, repeats: int, device: torch.device, on_run: Callable[[], object]) -> Outcome:
    """Everybody in turn, round after round; a first round, to warm up, does not count.

    :param on_run: called after each of the :func:`num_runs`.
    """
    rounds: list[list[float]] = []
    for _ in range(1 + repeats):
        rounds.append([])
        for contender in contest.contenders:
            rounds[-1].append(_seconds(contender.run, device))
            on_run()
    peaks: list[int | None] = [None] * len(contest.contenders)
    if contest.measures_memory:
        peaks = [peak_bytes(contender.run, device) for contender in contest.contenders]
    performances = [_performance(contest, place, rounds[1:], peak_bytes=peak) for place, peak in enumerate(peaks)]
    return Outcome(contest.title, contest.unit, contest.amount, contest.flops, performances)


def num_runs(contest: Contest, repeats: int) -> int:
    """How often :func:`hold` calls ``on_run``."""
    return (1 + repeats) * len(contest.contenders)


def _performance(contest: Contest, place: int, rounds: list[list[float]], peak_bytes: int | None) -> Performance:
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


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    gc.collect()  # nobody pays for what somebody else left behind
    _synchronize(device)
    started = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
