"""Checkpoints are written beside the training; a disk that refuses costs them, and not the run."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_run import MakeRun, raise_at

from summarizer.checkpoint import Best, CheckpointError, NonFiniteError, Snapshot, read_best
from summarizer.errors import UserError
from summarizer.training import saving


class Disk:
    """Refuses to hold the checkpoints of some steps, and may be slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full_at: set[int] = set()
        self.slow_at: dict[int, Callable[[], object]] = {}  # what a write of that step waits for
        self.asked: list[int] = []
        self.busy = threading.Lock()
        self.write = saving.write_checkpoint
        monkeypatch.setattr(saving, "write_checkpoint", self)

    def __call__(self, run_dir: Path, content: Snapshot) -> Path:
        assert self.busy.acquire(blocking=False), "one checkpoint is written after the other"
        with closing(self):
            self.asked.append(content.step)
            self.slow_at.get(content.step, int)()
            if content.step in self.full_at:
                raise CheckpointError(f"step {content.step} cannot be written: No space left on device")
            return self.write(run_dir, content)

    def close(self) -> None:
        self.busy.release()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(params=[True, False], ids=["beside", "between"])
def make_run(request: pytest.FixtureRequest, make_run: MakeRun) -> MakeRun:
    """Makes runs that write checkpoints beside the updates or between them."""
    return lambda **settings: make_run(**{"save_in_background": request.param, **settings})


def test_a_step_that_is_the_best_due_and_the_last_is_written_once(make_run: MakeRun, disk: Disk) -> None:
    make_run(max_steps=4, validate_every=2, save_every=2, metrics={2: 0.5, 4: 0.1}).fit()
    assert disk.asked == [2, 4]


def test_a_save_that_fails_is_told_and_the_next_one_tried(
    make_run: MakeRun, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.full_at = {2, 3}
    run = make_run(max_steps=5, save_every=1, max_failed_saves=3)
    assert run.fit().step == 5
    assert run.saved == [1, 4, 5]
    told = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert [message.split(" cannot")[0] for message in told] == ["step 2", "step 3"]


def test_too_many_failed_saves_in_a_row_end_the_run(make_run: MakeRun, disk: Disk) -> None:
    disk.full_at = {2, 4, 5, 6}
    run = make_run(max_steps=9, save_every=1, max_failed_saves=3)
    with pytest.raises(UserError, match=r"step 6 cannot be written: No space .* 3 saves in a row failed"):
        run.fit()
    assert run.saved == [1, 3]


@pytest.mark.parametrize("when", ["end", "signal"])
def test_a_save_that_nothing_can_make_good_fails_at_once(when: str, make_run: MakeRun, disk: Disk) -> None:
    disk.full_at = {4}
    stop = 4 if when == "signal" else 0
    run = make_run(
        max_steps=4 if when == "end" else 9,
        save_every=2,
        before=lambda step: raise_at(stop, step, signal.SIGTERM),
    )
    with pytest.raises(UserError, match="step 4 cannot be written"):
        run.fit()
    assert run.saved == [2]


def test_the_best_that_could_not_be_saved_is_not_the_best(make_run: MakeRun, disk: Disk) -> None:
    disk.full_at = {3}
    run = make_run(max_steps=6, validate_every=1, save_every=2, metrics={1: 0.5, 3: 0.1, 5: 0.4})
    state = run.fit()
    assert (state.best_step, state.best_value) == (5, 0.4)
    assert read_best(run.run_dir) == Best(5, "loss", 0.4)
    assert 3 not in run.saved


def test_weights_that_are_not_finite_end_the_run_unsaved(make_run: MakeRun) -> None:
    run = make_run(max_steps=6, save_every=2)
    run.updater.before = lambda step: run.updater.model.vocabulary.weight.data.fill_(math.nan if step == 4 else 1.0)
    with pytest.raises(NonFiniteError, match="step 4 is not finite"):
        run.fit()
    assert run.saved == [2]


def test_a_run_killed_before_it_could_name_its_best_names_it_when_it_goes_on(make_run: MakeRun) -> None:
    settings: dict[str, Any] = {"validate_every": 1, "metrics": {1: 0.5, 2: 0.3}}
    run = make_run(max_steps=2, **settings)
    run.fit()
    (run.run_dir / "best.json").unlink()
    make_run(max_steps=2, **settings).fit()
    assert read_best(run.run_dir) == Best(2, "loss", 0.3)
