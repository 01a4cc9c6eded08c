"""Step reports and validations in; a progress bar, TensorBoard and metrics.jsonl out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from summarizer.training.board import Board
from summarizer.training.gauge import Gauge
from summarizer.training.metrics_log import MetricsLog
from summarizer.training.progress import Progress
from summarizer.training.step import StepReport
from summarizer.training.validation import Sample, Validation
from summarizer.training.window import Stopwatch, Window

__all__ = ["Reporter", "Sample", "Validation"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Reporter:
    """Tells how the training goes. A disk that is full or gone costs the reports, never the run.

    Use as a context manager; leaving it writes what is still unwritten.

    :param start_step: last finished update of a run that resumes. Reports of later ones are withdrawn.
    :param validated_step: the update whose validation is the last one done; without it, that of ``start_step`` is.
    :param log_every: updates whose averages make one point of the curves.
    :param gauge: reads the speed by what the machine can do; without one, nothing is said of that.
    :param is_silent: show and write nothing: another process does, of the same run.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        max_steps: int,
        start_step: int,
        log_every: int,
        validated_step: int | None = None,
        gauge: Gauge | None = None,
        is_silent: bool = False,
    ) -> None:
        self.max_steps = max_steps
        self.log_every = log_every
        self.last_step = start_step
        self._window = Window()
        self._stopwatch = Stopwatch()
        self._waited = 0.0  # seconds of the window
        self._gauge = gauge
        self._seconds, self._real_tokens, self._flops = 0.0, 0, 0  # of all windows
        self._progress = _Outlet(
            "the progress", lambda: Progress(max_steps=max_steps, start_step=start_step), is_silent
        )
        self._log = _Outlet(
            "metrics.jsonl",
            lambda: MetricsLog(run_dir / "metrics.jsonl", start_step=start_step, validated_step=validated_step),
            is_silent,
        )
        self._board = _Outlet("TensorBoard", lambda: Board(run_dir / "tensorboard", start_step=start_step), is_silent)

    def __enter__(self) -> Reporter:
        self._stopwatch.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write_window()
        self._progress.use(Progress.close)
        self._log.use(MetricsLog.close)
        self._board.use(Board.close)

    def step(self, report: StepReport) -> None:
        """An update is done."""
        self.last_step = report.step
        self._window.add(report)
        tokens_per_second = self._window.real_tokens / max(self._stopwatch.seconds, 1e-9)
        loss = self._window.loss
        self._progress.use(lambda shown: shown.update(report.step, loss=loss, tokens_per_second=tokens_per_second))
        if report.step % self.log_every == 0 or report.step == self.max_steps:
            self._write_window()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time spent inside, validating or saving, does not count as training: tokens/s leave it out."""
        with self._stopwatch.paused():
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time spent inside is that of waiting for data, which better is next to none; beside a GPU that computes
        meanwhile, it is at most that."""
        began = self._stopwatch.seconds
        yield
        self._waited += self._stopwatch.seconds - began

    def validation(self, step: int, validation: Validation) -> None:
        self._progress.use(lambda shown: shown.say(f"step {step}  validation {_described(validation.metrics)}"))
        self._log.use(lambda log: log.write(step, "validation", validation.metrics))
        self._board.use(lambda board: board.validation(step, validation))

    def finish(self, hyperparameters: Mapping[str, str | int | float | bool], metrics: Mapping[str, float]) -> None:
        """The run has ended with these final metrics."""
        self._write_window()
        self._log.use(lambda log: log.write(self.last_step, "whole_run", metrics))
        self._board.use(lambda board: board.finish(self.last_step, hyperparameters, metrics))

    def speed(self) -> dict[str, float]:
        """Of all updates that were reported here, without validations and saves. Empty if there were none."""
        if not self._seconds:
            return {}
        return {"tokens_per_second": self._real_tokens / self._seconds, **self._read(self._flops, self._seconds)}

    def _read(self, flops: int, seconds: float) -> dict[str, float]:
        return {} if self._gauge is None else self._gauge.read(flops, seconds)

    def _write_window(self) -> None:
        if not len(self._window):
            return
        seconds = self._stopwatch.seconds
        averages = self._window.averages(seconds, waited=self._waited) | self._read(self._window.flops, seconds)
        self._seconds += seconds
        self._real_tokens += self._window.real_tokens
        self._flops += self._window.flops
        self._log.use(lambda log: log.write(self.last_step, "train", averages))
        self._board.use(lambda board: board.train(self.last_step, averages))
        self._window.clear()
        self._waited = 0.0
        self._stopwatch.restart()


class _Outlet(Generic[T]):
    """A file that is written as long as that works, if at all. The first failure is told, and is the last try."""

    def __init__(self, name: str, opened: Callable[[], T], is_silent: bool) -> None:
        self.name = name
        self.target: T | None = None
        if not is_silent:
            with self._forgiven():
                self.target = opened()

    def use(self, action: Callable[[T], None]) -> None:
        if self.target is not None:
            with self._forgiven():
                action(self.target)

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.target = None
            logger.warning("%s is no longer written, training goes on without: %s", self.name, error)


def _described(metrics: Mapping[str, float]) -> str:
    """``loss 3.21  perplexity 24.8  ROUGE-1 31.2 (lead-3 24.0)``, ROUGE in points out of 100."""
    parts = []
    for name, value in metrics.items():
        if name.startswith("rouge"):
            baseline = metrics.get(f"lead3/{name}")
            beside = "" if baseline is None else f" (lead-3 {100 * baseline:.1f})"
            parts.append(f"{name.replace('rouge', 'ROUGE-')} {100 * value:.1f}{beside}")
        elif "/" not in name:
            parts.append(f"{name} {value:.4g}")
    return "  ".join(parts)
