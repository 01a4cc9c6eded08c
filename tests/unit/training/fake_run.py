"""A trainer among fakes: what the tests of training and of saving share."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch

from summarizer.checkpoint import list_checkpoints
from summarizer.checkpoint.run_folder import step_of
from summarizer.data.loader import Position
from summarizer.model.transformer import Transformer
from summarizer.training.config import TrainingConfig
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.state import TrainerState
from summarizer.training.step import StepReport
from summarizer.training.trainer import Trainer, resume
from summarizer.training.validation import Validation

BATCHES_PER_EPOCH = 5


class FakeLoader:
    """Batches that are their own position: (epoch, index)."""

    def __init__(self) -> None:
        self.fetched = 0
        self.is_closed = False

    def batches_from(self, position: Position) -> Iterator[tuple[tuple[int, int], Position]]:
        try:
            for number in count(position.epoch * BATCHES_PER_EPOCH + position.batch):
                self.fetched += 1
                yield divmod(number, BATCHES_PER_EPOCH), Position(*divmod(number + 1, BATCHES_PER_EPOCH))
        finally:
            self.is_closed = True


class FakeUpdater:
    """Notes what it is given; its weights count the updates."""

    def __init__(self, model: Transformer, before: Callable[[int], None], skipped: set[int]) -> None:
        self.model = model
        self.optimizer = build_optimizer(model, OptimizerConfig())
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.before = before
        self.skipped = skipped
        self.seen: list[tuple[int, list[tuple[int, int]]]] = []

    def __call__(self, step: int, batches: list[tuple[int, int]], meanwhile: Callable[[], object]) -> StepReport:
        self.before(step)
        meanwhile()
        self.seen.append((step, list(batches)))
        self.model.decoder_norm.bias.data.fill_(step)
        skipped = step in self.skipped
        return StepReport(
            step, math.nan if skipped else 1.0, 1.0, 0.5, 0.1, 1.0, 10, 20, 30, 40, skipped, ("first", "second")
        )


class FakeReporter:
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.validated: list[int] = []

    def step(self, report: StepReport) -> None:
        self.steps.append(report.step)

    def validation(self, step: int, validation: Validation) -> None:
        self.validated.append(step)

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()

    def waiting(self) -> AbstractContextManager[None]:
        return nullcontext()


class Run:
    """A trainer with fakes around it, continuing where ``run_dir`` stands."""

    def __init__(
        self,
        run_dir: Path,
        model: Transformer,
        *,
        metrics: Mapping[int, float] | None = None,
        before: Callable[[int], None] = lambda step: None,
        skipped: set[int] | None = None,
        data: str = "the same",
        **settings: Any,
    ) -> None:
        self.run_dir = run_dir
        self.updater = cast(Any, FakeUpdater(model, before, skipped or set()))
        self.reporter = cast(Any, FakeReporter())
        self.loader = cast(Any, FakeLoader())
        values = {"max_steps": 8, "validate_every": 1000, "save_every": 1000, "keep_last": 100, **settings}
        self.config = TrainingConfig(**values)
        self.trainer = Trainer(
            self.config,
            updater=self.updater,
            loader=self.loader,
            validate=lambda stop_requested: self.validation(metrics or {}),
            reporter=self.reporter,
            run_dir=run_dir,
            state=resume(run_dir, self.updater, data=data),
        )

    def validation(self, metrics: Mapping[int, float]) -> Validation:
        return Validation({self.config.best_metric: metrics.get(self.trainer.state.step, 1.0)})

    def fit(self) -> TrainerState:
        return self.trainer.fit()

    @property
    def saved(self) -> list[int]:
        return [step_of(path) for path in list_checkpoints(self.run_dir)]


MakeRun = Callable[..., Run]


def raise_at(wanted: int, step: int, number: int) -> None:
    if step == wanted:
        signal.raise_signal(number)
