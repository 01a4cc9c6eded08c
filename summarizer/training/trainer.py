"""The training loop, and nothing but the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from summarizer.checkpoint import Checkpoint, load_latest, prune, save_checkpoint, write_best
from summarizer.data.batch import Batch
from summarizer.data.loader import BatchLoader
from summarizer.errors import UserError
from summarizer.training.interruption import Interrupted, StopRequest
from summarizer.training.reporting import Reporter
from summarizer.training.state import TrainerState, model_weights, optimizer_tensors, restore_optimizer
from summarizer.training.step import StepReport, Updater
from summarizer.training.validation import Validation


@dataclass(kw_only=True)
class TrainingConfig:
    """How long to train, and what to do on the way."""

    max_steps: int = 10_000
    """Updates of the weights, warm-up included."""

    accumulate: int = 1
    """Batches whose gradients make one update."""

    clip_norm: float = 1.0
    """Longest gradient; longer ones are shortened to it (Pascanu et al. 2013)."""

    label_smoothing: float = 0.1
    """Share of the target distribution spread evenly over the vocabulary (Szegedy et al. 2016)."""

    coverage_weight: float = 0.0
    """Weight of the coverage loss, which keeps a pointer from copying one place twice; See et al. 2017 take 1."""

    coverage_start: int = 0
    """First update that has the coverage loss. See et al. 2017 add it at the end, when copying has been learned."""

    log_every: int = 20
    validate_every: int = 500
    save_every: int = 500
    """Steps between log lines, validations and checkpoints. All three also happen at the last step."""

    keep_last: int = 2
    """Newest checkpoints to keep, besides the best one."""

    best_metric: str = "loss"
    """What picks the best checkpoint: loss, perplexity, accuracy, rouge1, rouge2, rougeL or rougeLsum."""

    patience: int | None = None
    """Stop after this many validations without a better ``best_metric``; null never stops early."""

    max_skipped_in_a_row: int = 10
    """Give up after this many updates in a row whose loss or gradient was not finite."""

    def validate(self) -> None:
        """Raise UserError for values out of range."""
        at_least_one = ("accumulate", "log_every", "validate_every", "save_every", "keep_last", "max_steps")
        for name in (*at_least_one, "max_skipped_in_a_row"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} ({getattr(self, name)}) must be at least 1")
        if not self.clip_norm > 0:
            raise UserError(f"training.clip_norm ({self.clip_norm}) must be above 0: try training.clip_norm=1.0")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"training.label_smoothing ({self.label_smoothing}) must be at least 0 and below 1")
        if not 0 <= self.coverage_weight < math.inf:
            raise UserError(f"training.coverage_weight ({self.coverage_weight}) must be 0 or more, and finite")
        if self.coverage_start < 0:
            raise UserError(f"training.coverage_start ({self.coverage_start}) must be at least 0")
        if self.patience is not None and self.patience < 1:
            raise UserError(f"training.patience ({self.patience}) must be at least 1, or null for no early stopping")
        if self.best_metric not in BEST_IS_LOWEST | BEST_IS_HIGHEST:
            names = ", ".join(sorted(BEST_IS_LOWEST | BEST_IS_HIGHEST))
            raise UserError(f"training.best_metric ({self.best_metric}) must be one of {names}")


BEST_IS_LOWEST = {"loss", "perplexity"}
BEST_IS_HIGHEST = {"accuracy", "rouge1", "rouge2", "rougeL", "rougeLsum"}


class Trainer:
    """Runs updates from where the run folder stands to the last step, validating and saving on the way."""

    def __init__(
        self,
        config: TrainingConfig,
        *,
        updater: Updater,
        loader: BatchLoader,
        validate: Callable[[], Validation],
        reporter: Reporter,
        run_dir: Path,
        state: TrainerState,
    ) -> None:
        self.config = config
        self.updater = updater
        self.loader = loader
        self.validate = validate
        self.reporter = reporter
        self.run_dir = run_dir
        self.state = state
        self.saved_step: int | None = None

    def fit(self) -> TrainerState:
        """Train to the end. Raises Interrupted, everything saved, if the process is asked to stop."""
        with StopRequest() as stop, closing(self._updates()) as updates:
            for batches in updates:
                report = self.updater(self.state.step, batches)
                self._note(report)
                self.reporter.step(report)
                if self._due(self.config.validate_every):
                    self._validate()
                stop_signal = stop.signal_number  # read once: a signal during the save waits for the next update
                if self._due(self.config.save_every) or stop_signal is not None:
                    self._save()
                if stop_signal is not None:
                    raise Interrupted(stop_signal)
        return self.state

    def _updates(self) -> Generator[list[Batch]]:
        """The batches of each update to come; ``state`` says which update it is and where the next one begins."""
        batches: list[Batch] = []
        stream = self.loader.batches_from(self.state.position)
        while self.state.step < self.config.max_steps and not self.state.stopped_early:
            while len(batches) < self.config.accumulate:
                batch, position = next(stream)
                batches.append(batch)
            self.state.step += 1
            self.state.position = position
            yield batches
            batches = []

    def _due(self, every: int) -> bool:
        """Every ``every`` steps, and at the end."""
        step = self.state.step
        return step % every == 0 or step == self.config.max_steps or self.state.stopped_early

    def _note(self, report: StepReport) -> None:
        state = self.state
        state.skipped_updates += report.skipped
        state.skipped_in_a_row = state.skipped_in_a_row + 1 if report.skipped else 0
        if state.skipped_in_a_row >= self.config.max_skipped_in_a_row:
            raise UserError(
                f"the loss or its gradient was not finite in {state.skipped_in_a_row} updates in a row, up to step "
                f"{report.step} (loss {report.loss}): lower optimizer.lr, lengthen schedule.warmup_steps, or set "
                "runtime.precision=fp32; the checkpoints before are intact"
            )

    def _validate(self) -> None:
        with self.reporter.paused():
            validation = self.validate()
        self.reporter.validation(self.state.step, validation)
        value = validation.metrics[self.config.best_metric]
        if self._is_better(validation):
            self.state.best_value = value
            self.state.best_step = self.state.step
            self.state.best_metrics = dict(validation.metrics)
            self.state.stale_validations = 0
            self._save()
            write_best(self.run_dir, self.state.step, self.config.best_metric, value)
        else:
            self.state.stale_validations += 1
            patience = self.config.patience
            self.state.stopped_early = patience is not None and self.state.stale_validations >= patience

    def _is_better(self, validation: Validation) -> bool:
        """Nothing that holds a number that is not finite is the best, not even as the first."""
        if not all(map(math.isfinite, validation.metrics.values())):
            return False
        value, best = validation.metrics[self.config.best_metric], self.state.best_value
        if best is None:
            return True
        return value < best if self.config.best_metric in BEST_IS_LOWEST else value > best

    def _save(self) -> None:
        """Once per step, though the step may be the best, the last and a regular one."""
        if self.saved_step == self.state.step:
            return
        model, optimizer = self.updater.model, self.updater.optimizer
        with self.reporter.paused():
            save_checkpoint(
                self.run_dir,
                self.state.step,
                model=model_weights(model),
                trainer_tensors=optimizer_tensors(model, optimizer),
                trainer_state={"state": self.state.to_plain(), "scaler": self.updater.scaler.state_dict()},
            )
        self.saved_step = self.state.step
        protect = () if self.state.best_step is None else (self.state.best_step,)
        prune(self.run_dir, keep_last=self.config.keep_last, protect=protect)


def resume(run_dir: Path, updater: Updater, *, data: str) -> TrainerState:
    """Load the newest valid checkpoint of ``run_dir``, if there is one, into ``updater``; say where the run stands.

    :param data: fingerprint of the training examples.
    :raises UserError: the checkpoint is of another model or of other examples.
    """
    checkpoint: Checkpoint | None = load_latest(run_dir)
    if checkpoint is None:
        return TrainerState(data=data)
    state = TrainerState.from_plain(checkpoint.trainer_state["state"])
    if state.data != data:
        raise UserError(
            f"run_dir ({run_dir}) holds a run on other training examples than those that data names now: "
            "bring the files back as they were to continue it, or choose another run_dir"
        )
    try:
        updater.model.load_weights(checkpoint.model)
    except ValueError as error:
        raise UserError(
            f"{checkpoint.path} is of another run: {error}; remove it, or choose another run_dir"
        ) from error
    restore_optimizer(updater.model, updater.optimizer, checkpoint.trainer_tensors)
    updater.scaler.load_state_dict(checkpoint.trainer_state["scaler"])
    return state
