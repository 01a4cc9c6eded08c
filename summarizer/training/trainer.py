"""The training loop, and nothing but the loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from summarizer.checkpoint import Checkpoint, load_latest, require_same_settings
from summarizer.data.batch import Batch
from summarizer.data.loader import BatchLoader, Position
from summarizer.errors import UserError
from summarizer.parallel import ALONE, Processes
from summarizer.sharding import fill
from summarizer.training.config import BEST_IS_LOWEST, TrainingConfig
from summarizer.training.interruption import Interrupted, StopRequest
from summarizer.training.reporting import Reporter
from summarizer.training.saving import Saver
from summarizer.training.state import Settings, TrainerState, restore_optimizer
from summarizer.training.step import StepReport, Updater
from summarizer.training.validation import Validate, Validation, ValidationStopped

logger = logging.getLogger(__name__)

_ECHO_SECONDS = 5.0


class Trainer:
    """Runs updates from where the run folder stands to the last step, validating and saving on the way."""

    def __init__(
        self,
        config: TrainingConfig,
        *,
        updater: Updater,
        loader: BatchLoader,
        validate: Validate,
        reporter: Reporter,
        run_dir: Path,
        state: TrainerState,
        processes: Processes = ALONE,
    ) -> None:
        self.config = config
        self.updater = updater
        self.loader = loader
        self.validate = validate
        self.reporter = reporter
        self.state = state
        self.processes = processes
        self._stream: Iterator[tuple[Batch, Position]] = iter(())
        self._fetched: list[tuple[Batch, Position]] = []  # not trained on yet
        self.saver = Saver(
            run_dir,
            updater,
            best_metric=config.best_metric,
            keep_last=config.keep_last,
            max_failures=config.max_failed_saves,
            in_background=config.save_in_background,
            processes=processes,
        )

    def fit(self) -> TrainerState:
        """Train to the end. Raises Interrupted, everything saved, if the process is asked to stop."""
        self.saver.restate_best(self.state)
        echo = _ECHO_SECONDS if self.processes.size > 1 else 0.0
        with StopRequest(echo_seconds=echo) as stop, closing(self._updates()) as updates, self.saver:
            if self._validation_is_due():  # the run was stopped in the midst of it
                self._conclude(stop)
            for batches in updates:
                report = self.updater(self.state.step, batches, meanwhile=self._fetch)
                self.reporter.step(report)
                self._count_skipped(report)
                self.saver.look()
                self._conclude(stop)
        return self.state

    def _updates(self) -> Generator[list[Batch]]:
        """The batches of each update to come; ``state`` says which update it is and where the next one begins."""
        with closing(self.loader.batches_from(self.state.position)) as self._stream:
            self._fetched = []
            while not self._is_last_step():
                self._fetch()
                fetched, self._fetched = self._fetched, []
                self.state.step += 1
                self.state.position = fetched[-1][1]
                yield [batch for batch, _ in fetched]

    def _fetch(self) -> None:
        """See to it that the batches of the next update are at hand. A GPU computes meanwhile."""
        while len(self._fetched) < self.config.accumulate and not self._is_last_step():
            with self.reporter.waiting():
                self._fetched.append(next(self._stream))

    def _conclude(self, stop: StopRequest) -> None:
        """Validate and save after an update, where that is due; save and end where a signal asks for it."""
        if self._validation_is_due():
            self._validate(stop)
        # Asked once: a signal during the save waits for the next update. One of any process is one of all.
        signal_number = self.processes.largest(stop.signal_number or 0)
        is_last = self._is_last_step() or signal_number > 0
        if self._is_due(self.config.save_every) or is_last:
            with self.reporter.paused():
                self.saver.save(self.state, must=is_last)
        if signal_number > 0:
            raise Interrupted(signal_number)

    def _validation_is_due(self) -> bool:
        return self._is_due(self.config.validate_every) and self.state.validated_step < self.state.step

    def _is_due(self, every: int) -> bool:
        """Every ``every`` steps, and at the end."""
        return self.state.step % every == 0 or self._is_last_step()

    def _is_last_step(self) -> bool:
        return self.state.step == self.config.max_steps or self.state.stopped_early

    def _count_skipped(self, report: StepReport) -> None:
        state = self.state
        state.skipped_updates += report.skipped
        state.skipped_in_a_row = state.skipped_in_a_row + 1 if report.skipped else 0
        if report.skipped:
            logger.warning(
                "update %d is skipped: its loss (%s) or the norm of its gradient (%s) is not finite; examples: %s",
                report.step, report.loss, report.gradient_norm, ", ".join(report.skipped_ids),
            )  # fmt: skip
        if state.skipped_in_a_row >= self.config.max_skipped_in_a_row:
            self.processes.agreed(partial(self._give_up, report))

    def _give_up(self, report: StepReport) -> NoReturn:
        raise UserError(
            f"the loss or its gradient was not finite in {self.state.skipped_in_a_row} updates in a row, up to step "
            f"{report.step} (loss {report.loss}): lower optimizer.lr, lengthen schedule.warmup_steps, or set "
            "runtime.precision=fp32; the checkpoints before are intact"
        )

    def _validate(self, stop: StopRequest) -> None:
        """A validation that a signal cuts short is as if it had not begun: the run that continues has it to do."""
        state = self.state
        with self.reporter.paused():
            try:
                validation = self.validate(stop.requested)
            except ValidationStopped:
                return
        self.reporter.validation(state.step, validation)
        state.validated_step = state.step
        self.saver.settle()  # whether what seems the best so far could be saved
        # The main process knows what could be saved.
        if self.processes.from_main(self._is_better(validation)):
            self._save_best(validation)
        else:
            state.stale_validations += 1
            patience = self.config.patience
            state.stopped_early = patience is not None and state.stale_validations >= patience

    def _save_best(self, validation: Validation) -> None:
        """A best checkpoint that cannot be written is none: what was best before remains it."""
        state = self.state
        before = (state.best_value, state.best_step, state.best_metrics)
        state.best_value, state.best_step = validation.metrics[self.config.best_metric], state.step
        state.best_metrics = dict(validation.metrics)
        state.stale_validations = 0

        def restore() -> None:
            state.best_value, state.best_step, state.best_metrics = before

        with self.reporter.paused():
            self.saver.save(state, must=self._is_last_step(), if_failed=restore)

    def _is_better(self, validation: Validation) -> bool:
        """Nothing that holds a number that is not finite is the best, not even as the first."""
        if not all(map(math.isfinite, validation.metrics.values())):
            return False
        value, best = validation.metrics[self.config.best_metric], self.state.best_value
        if best is None:
            return True
        return value < best if self.config.best_metric in BEST_IS_LOWEST else value > best


def resume(
    run_dir: Path,
    updater: Updater,
    *,
    data: str,
    validation_data: str = "",
    tokenizer: str = "",
    settings: Settings | None = None,
) -> TrainerState:
    """Load the newest valid checkpoint of ``run_dir``, if there is one, into ``updater``; say where the run stands.

    :param data: fingerprint of the training examples; the others are of what their names say.
    :param settings: of this run; a checkpoint of a run with others is skipped.
    :raises UserError: the checkpoint is of another model, or of other examples or another tokenizer.
    """
    fresh = TrainerState(data=data, validation_data=validation_data, tokenizer=tokenizer, settings=dict(settings or {}))
    checkpoint: Checkpoint | None = load_latest(run_dir, partial(require_same_settings, fresh.settings))
    if checkpoint is None:
        return fresh
    try:
        state = TrainerState.from_plain(checkpoint.trainer_state["state"])
        _require_same_origin(run_dir, state, fresh)
        updater.model.load_weights(checkpoint.model, copy=fill)
        restore_optimizer(updater.model, updater.optimizer, checkpoint.trainer_tensors)
        if checkpoint.trainer_state["scaler"]:  # only a run in fp16 has one
            updater.scaler.load_state_dict(checkpoint.trainer_state["scaler"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{checkpoint.path} is of another run: {error}; remove it, or choose another run_dir"
        ) from error
    return replace(state, validation_data=validation_data, tokenizer=tokenizer, settings=fresh.settings)


def _require_same_origin(run_dir: Path, before: TrainerState, now: TrainerState) -> None:
    """Refuse to continue a run whose files have changed since, though its settings are the same."""
    named = {
        "training examples": (before.data, now.data),
        "validation examples": (before.validation_data, now.validation_data),
        "the tokenizer": (before.tokenizer, now.tokenizer),
    }
    changed = [
        f"the hash of {name} was {old[:8]} and is {new[:8]}" for name, (old, new) in named.items() if old and old != new
    ]
    if changed:
        raise UserError(
            f"run_dir ({run_dir}) holds a run made of other files than those that data and tokenizer name now "
            f"({'; '.join(changed)}): bring them back as they were to continue it, or choose another run_dir"
        )
