"""The checkpoints of a run in progress: a save that fails is told and missed, too many in a row end the run."""

from __future__ import annotations

import logging
from pathlib import Path

from summarizer.checkpoint import (
    Best,
    CheckpointError,
    NonFiniteError,
    prune,
    read_best,
    save_checkpoint,
    write_best,
)
from summarizer.errors import UserError
from summarizer.training.state import TrainerState, model_weights, optimizer_tensors
from summarizer.training.step import Updater

logger = logging.getLogger(__name__)


class Saver:
    """Writes checkpoints of one run, and keeps ``best.json`` and the number of checkpoints in order.

    :param best_metric: what the best checkpoint is best by.
    :param max_failures: so many failed saves in a row raise what the last of them met.
    """

    def __init__(self, run_dir: Path, updater: Updater, *, best_metric: str, keep_last: int, max_failures: int) -> None:
        self.run_dir = run_dir
        self.updater = updater
        self.best_metric = best_metric
        self.keep_last = keep_last
        self.max_failures = max_failures
        self.failures = 0  # in a row
        self.saved: TrainerState | None = None

    def save(self, state: TrainerState, *, must: bool = False) -> bool:
        """Write ``state`` and what belongs to it, unless the last checkpoint holds just that. Was it possible?

        :param must: there is no next time: a failure is raised at once.
        :raises UserError: the disk refuses once too often; or at once, if weights are not finite.
        """
        if self.saved == state:
            return True
        try:
            self._write(state)
        except NonFiniteError:
            raise
        except CheckpointError as error:
            self._count_failure(error, must)
            return False
        self.failures = 0
        self.saved = state.copy()
        self.restate_best(state)
        protect = () if state.best_step is None else (state.best_step,)
        prune(self.run_dir, keep_last=self.keep_last, protect=protect)
        return True

    def restate_best(self, state: TrainerState) -> None:
        """Let ``best.json`` say what ``state`` says: a run killed between two writes left it behind."""
        if state.best_step is None or state.best_value is None:
            return
        best = Best(state.best_step, self.best_metric, state.best_value)
        try:
            if _noted_best(self.run_dir) != best:
                write_best(self.run_dir, best.step, best.metric, best.value)
        except UserError as error:
            logger.warning("%s; training goes on", error)

    def _write(self, state: TrainerState) -> None:
        model, optimizer = self.updater.model, self.updater.optimizer
        save_checkpoint(
            self.run_dir,
            state.step,
            model=model_weights(model),
            trainer_tensors=optimizer_tensors(model, optimizer),
            trainer_state={"state": state.to_plain(), "scaler": self.updater.scaler.state_dict()},
        )

    def _count_failure(self, error: CheckpointError, must: bool) -> None:
        self.failures += 1
        if must or self.failures >= self.max_failures:
            raise UserError(
                f"{error}; {self.failures} saves in a row failed, the checkpoints before are intact"
            ) from error
        logger.error("%s; training goes on, and stops at failure %d in a row", error, self.max_failures)


def _noted_best(run_dir: Path) -> Best | None:
    try:
        return read_best(run_dir)
    except CheckpointError:
        return None
