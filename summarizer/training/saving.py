"""The checkpoints of a run in progress: written beside the training that goes on, one after the other.

A save that fails is told and missed; too many in a row end the run.
"""

from __future__ import annotations

import logging
import threading
from collections import ChainMap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from summarizer.checkpoint import (
    Best,
    CheckpointError,
    Snapshot,
    prune,
    read_best,
    take_snapshot,
    write_best,
    write_checkpoint,
)
from summarizer.errors import UserError
from summarizer.parallel import ALONE, Processes
from summarizer.sharding import gathered, is_sharded
from summarizer.training.state import TrainerState, model_weights, optimizer_tensors
from summarizer.training.step import Updater

logger = logging.getLogger(__name__)

THREAD_NAME = "checkpoint"


class Saver:
    """Writes checkpoints of one run, and keeps ``best.json`` and the number of checkpoints in order.

    Within its context no failure passes unnoticed, and what was begun is brought to its end when the context ends.

    :param best_metric: what the best checkpoint is best by.
    :param max_failures: so many failed saves in a row raise what the last of them met.
    :param in_background: whether training goes on while the disk writes, from a copy of all that is saved.
    :param processes: of which the main one does all this, and others but give their parts of a sharded model.
    """

    def __init__(
        self,
        run_dir: Path,
        updater: Updater,
        *,
        best_metric: str,
        keep_last: int,
        max_failures: int,
        in_background: bool = True,
        processes: Processes = ALONE,
    ) -> None:
        self.run_dir = run_dir
        self.updater = updater
        self.best_metric = best_metric
        self.keep_last = keep_last
        self.max_failures = max_failures
        self.in_background = in_background
        self.processes = processes
        self.is_sharded = is_sharded(updater.model)
        self.failures = 0  # in a row
        self._step: int | None = None  # of the last save that was begun
        self._writing: _Writing | None = None  # that save, until its outcome is known
        self._if_failed: Callable[[], None] = _nothing
        self._snapshot: Snapshot | None = None  # the last one: its memory is that of the next

    def save(self, state: TrainerState, *, must: bool = False, if_failed: Callable[[], None] | None = None) -> None:
        """Begin to write ``state`` and what belongs to it, unless that was done, or tried, at this step before.

        :param must: there is no next time: try again what failed, return when it is done, or end the run.
        :param if_failed: called once it is known that this save failed.
        :raises UserError: the disk refuses once too often; or at once, if weights are not finite.
        """
        if must:
            self.settle()
        if self._is_to_begin(state, must):
            self.settle()
            self._if_failed = if_failed or _nothing
            self._step = state.step
            self._snapshot = self._take_snapshot(state)
            if self._snapshot is not None:
                self._writing = _Writing(partial(self._write, self._snapshot, state.copy()))
        if must or not self.in_background:
            self.settle(must=must)

    def _is_to_begin(self, state: TrainerState, must: bool) -> bool:
        """Whether this process has to do with a save now. What was tried and what failed, the main one knows."""
        is_to_begin = self._step != state.step or (must and self.failures > 0)
        if self.is_sharded:
            return self.processes.from_main(is_to_begin)
        return is_to_begin and self.processes.is_main

    def settle(self, *, must: bool = False) -> None:
        """Wait for the save under way, if there is one, and face its outcome. Raises UserError as :meth:`save` does."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        error = writing.outcome()
        if error is None:
            self.failures = 0
            return
        if not isinstance(error, CheckpointError):
            raise error
        self._if_failed()
        self._count_failure(error, must)

    def look(self) -> None:
        """:meth:`settle`, but only what is done already."""
        if self._writing is not None and self._writing.is_done():
            self.settle()

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.settle()
        elif issubclass(kind, Exception):  # and not one that wants to leave at once
            try:
                self.settle()
            except UserError as failure:
                logger.error("%s", failure)

    def restate_best(self, state: TrainerState) -> None:
        """Let ``best.json`` say what ``state`` says: a run killed between two writes left it behind."""
        if state.best_step is None or state.best_value is None or not self.processes.is_main:
            return
        best = Best(state.best_step, self.best_metric, state.best_value)
        try:
            if _noted_best(self.run_dir) != best:
                write_best(self.run_dir, best.step, best.metric, best.value)
        except UserError as error:
            logger.warning("%s; training goes on", error)

    def _take_snapshot(self, state: TrainerState) -> Snapshot | None:
        """None at a process that does not write."""
        model, moments = self.updater.model, self.updater.optimizer
        tensors = {"model": model_weights(model), "trainer_tensors": optimizer_tensors(model, moments)}
        if self.is_sharded:
            memory = ChainMap(*(dict(each) for each in self._snapshot.tensors.values())) if self._snapshot else {}
            tensors = {name: gathered(each, memory, keep=self.processes.is_main) for name, each in tensors.items()}
        if not self.processes.is_main:
            return None
        return take_snapshot(
            state.step,
            **tensors,
            trainer_state={"state": state.to_plain(), "scaler": self.updater.scaler.state_dict()},
            share_memory=not self.in_background or self.is_sharded,
            reuse=self._snapshot,
        )

    def _write(self, content: Snapshot, state: TrainerState) -> None:
        """Only what is safe on the disk becomes the best, and lets older checkpoints go."""
        write_checkpoint(self.run_dir, content)
        self.restate_best(state)
        protect = () if state.best_step is None else (state.best_step,)
        prune(self.run_dir, keep_last=self.keep_last, protect=protect)

    def _count_failure(self, error: CheckpointError, must: bool) -> None:
        self.failures += 1
        if must or self.failures >= self.max_failures:
            raise UserError(
                f"{error}; {self.failures} saves in a row failed, the checkpoints before are intact"
            ) from error
        logger.error("%s; training goes on, and stops at failure %d in a row", error, self.max_failures)


class _Writing:
    """A call in a thread of its own, which does not keep the process from ending."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error

    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def outcome(self) -> BaseException | None:
        """Wait for the end; what was raised, or None."""
        self._thread.join()
        return self._error


def _nothing() -> None:
    pass


def _noted_best(run_dir: Path) -> Best | None:
    try:
        return read_best(run_dir)
    except CheckpointError:
        return None
