"""Step reports in, their averages out: what one point of the training curves stands for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from summarizer.training.step import StepReport


class Stopwatch:
    """Seconds since it was started, without the time spent in :meth:`paused`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.start = clock()

    @property
    def seconds(self) -> float:
        return self.clock() - self.start

    def restart(self) -> None:
        self.start = self.clock()

    @contextmanager
    def paused(self) -> Iterator[None]:
        began = self.clock()
        try:
            yield
        finally:
            self.start += self.clock() - began


class Window:
    """Collects the reports of consecutive updates.

    Means are weighted by target tokens, so that they do not depend on how the tokens were split into updates.
    Skipped updates are counted, and left out of the means.
    """

    def __init__(self) -> None:
        self.reports: list[StepReport] = []

    def __len__(self) -> int:
        return len(self.reports)

    def add(self, report: StepReport) -> None:
        self.reports.append(report)

    def clear(self) -> None:
        self.reports.clear()

    @property
    def real_tokens(self) -> int:
        return sum(report.real_tokens for report in self.reports)

    @property
    def flops(self) -> int:
        return sum(report.flops for report in self.reports)

    @property
    def loss(self) -> float:
        """Mean loss per target token; NaN if every update was skipped."""
        return _token_mean(self._done, lambda report: report.loss)

    def averages(self, seconds: float, *, waited: float = 0.0) -> dict[str, float]:
        """One number for each training curve; NaN where there is nothing to average.

        :param seconds: how long the updates took. The tokens per second are real ones, without padding.
        :param waited: how much of that went by until their batches had come.
        """
        norms = [report.gradient_norm for report in self._done]
        return {
            "loss": self.loss,
            "nll": _token_mean(self._done, lambda report: report.nll),
            "accuracy": _token_mean(self._done, lambda report: report.accuracy),
            **{name: self._pointer_mean(name) for name in self.reports[-1].pointer},
            "learning_rate": self.reports[-1].learning_rate,
            "gradient_norm": sum(norms) / len(norms) if norms else math.nan,
            "gradient_norm_max": max(norms, default=math.nan),
            "skipped_updates": len(self.reports) - len(self._done),
            "tokens_per_second": self.real_tokens / max(seconds, 1e-9),
            "data_wait_share": waited / max(seconds, 1e-9),
            "real_token_share": self.real_tokens / sum(report.positions for report in self.reports),
        }

    def _pointer_mean(self, name: str) -> float:
        return _token_mean(self._done, lambda report: report.pointer[name])

    @property
    def _done(self) -> list[StepReport]:
        return [report for report in self.reports if not report.skipped]


def _token_mean(reports: list[StepReport], value: Callable[[StepReport], float]) -> float:
    tokens = sum(report.target_tokens for report in reports)
    return sum(value(report) * report.target_tokens for report in reports) / tokens if tokens else math.nan
