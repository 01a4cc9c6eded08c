"""While a checkpoint is written, training goes on; nothing counts as saved, and nothing is given up, before it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_run import MakeRun, Run, raise_at

from summarizer.checkpoint import Best, CheckpointError, Snapshot, load_checkpoint, read_best
from summarizer.errors import UserError
from summarizer.training import saving
from summarizer.training.interruption import Interrupted

SLOW, RELEASE = 4, 6  # the checkpoint of this step is not written before that update begins


class SlowDisk:
    """Is done with the checkpoint of step SLOW when it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moments: list[str] = []
        self.is_full = False
        self._may_go_on = threading.Event()
        self._write = saving.write_checkpoint
        monkeypatch.setattr(saving, "write_checkpoint", self.write)

    def write(self, run_dir: Path, content: Snapshot) -> Path:
        self.moments.append(f"write {content.step}")
        if content.step == SLOW:
            assert self._may_go_on.wait(timeout=60)
            if self.is_full:
                raise CheckpointError("no space")
        path = self._write(run_dir, content)
        self.moments.append(f"written {content.step}")
        return path

    def go_on(self) -> None:
        """And return when all is written that was begun."""
        self._may_go_on.set()
        for thread in threading.enumerate():
            if thread.name == saving.THREAD_NAME:
                thread.join()

    def go_on_soon(self) -> None:
        threading.Timer(0.1, self._may_go_on.set).start()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.go_on()


@pytest.fixture
def make_slow(make_run: MakeRun, disk: SlowDisk) -> MakeRun:
    """Makes runs on the slow disk; before update RELEASE it has what it waits for."""

    def make(before: Callable[[int], None] = lambda step: None, **settings: Any) -> Run:
        def note(step: int) -> None:
            disk.moments.append(f"update {step}")
            before(step)
            if step == RELEASE:
                disk.go_on()

        return make_run(**{"before": note, "max_steps": 10, "save_every": SLOW, **settings})

    return make


def test_updates_go_on_and_what_is_written_is_what_the_weights_were(make_slow: MakeRun, disk: SlowDisk) -> None:
    run = make_slow()
    run.fit()
    assert disk.moments[3:] == [
        "update 4", "write 4", "update 5", "update 6", "written 4", "update 7", "update 8", "write 8",
        *disk.moments[11:],
    ]  # fmt: skip
    for step in (4, 8, 10):
        weights = load_checkpoint(run.run_dir / "checkpoints" / f"step-{step:07d}").model["decoder_norm.bias"]
        assert weights.unique().tolist() == [step]


def test_the_next_checkpoint_waits_for_the_one_before(make_slow: MakeRun, disk: SlowDisk) -> None:
    run = make_slow(before=lambda step: disk.go_on_soon() if step == SLOW + 1 else None, save_every=1, max_steps=5)
    run.fit()
    assert disk.moments.index("written 4") < disk.moments.index("write 5")
    assert run.saved == [1, 2, 3, 4, 5]


def test_what_is_not_written_is_not_the_best_and_replaces_nothing(make_slow: MakeRun) -> None:
    seen: dict[int, tuple[list[int], Best | None]] = {}
    run = make_slow(
        before=lambda step: seen.update({step: (run.saved, read_best(run.run_dir))}),
        validate_every=2, save_every=1000, keep_last=1, max_steps=7, metrics={2: 0.5, SLOW: 0.4},
    )  # fmt: skip
    run.fit()
    assert seen[SLOW + 1] == seen[RELEASE] == ([2], Best(2, "loss", 0.5))
    assert seen[RELEASE + 1] == ([SLOW], Best(SLOW, "loss", 0.4))


def test_a_failure_is_told_at_the_next_update(
    make_slow: MakeRun, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.is_full = True
    monkeypatch.setattr(saving.logger, "error", lambda *message: disk.moments.append("told"))
    run = make_slow(max_failed_saves=2)
    run.fit()
    assert disk.moments[disk.moments.index("update 6") + 1] == "told"
    assert run.saved == [8, 10]


def test_a_failure_too_much_ends_the_run_at_the_next_update(make_slow: MakeRun, disk: SlowDisk) -> None:
    disk.is_full = True
    run = make_slow(max_failed_saves=1)
    with pytest.raises(UserError, match="no space; 1 saves in a row failed"):
        run.fit()
    assert run.trainer.state.step == RELEASE


def test_a_best_that_proves_not_to_be_saved_gives_way_to_the_one_before(make_slow: MakeRun, disk: SlowDisk) -> None:
    """Also where another validation comes before that is known: it is not compared with what is lost."""
    disk.is_full = True
    run = make_slow(validate_every=1, save_every=1000, max_steps=7, metrics={1: 0.5, SLOW: 0.1, SLOW + 1: 0.4},
                    before=lambda step: disk.go_on_soon() if step == SLOW + 1 else None)  # fmt: skip
    state = run.fit()
    assert (state.best_step, state.best_value, state.best_metrics) == (5, 0.4, {"loss": 0.4})
    assert read_best(run.run_dir) == Best(5, "loss", 0.4)


def test_a_signal_waits_for_what_is_written_and_saves_the_last_update_too(make_slow: MakeRun, disk: SlowDisk) -> None:
    def stop(step: int) -> None:
        if step == SLOW + 1:
            disk.go_on_soon()
            signal.raise_signal(signal.SIGTERM)

    run = make_slow(before=stop)
    with pytest.raises(Interrupted):
        run.fit()
    assert run.saved == [SLOW, SLOW + 1]


def test_an_error_in_training_does_not_cost_the_checkpoint_that_is_written(make_slow: MakeRun, disk: SlowDisk) -> None:
    def fail(step: int) -> None:
        if step == SLOW + 1:
            disk.go_on_soon()
            raise RuntimeError("no more")

    run = make_slow(before=fail)
    with pytest.raises(RuntimeError, match="no more"):
        run.fit()
    assert run.saved == [SLOW]


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """Of Ctrl-C: a process that a shell starts in the background has none."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.usefixtures("usual_handler")
def test_a_second_signal_does_not_wait_for_the_disk(make_slow: MakeRun, disk: SlowDisk) -> None:
    def stop_twice(step: int) -> None:
        for _ in range(2):
            raise_at(SLOW + 1, step, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_slow(before=stop_twice).fit()
    assert "written 4" not in disk.moments


def test_an_error_that_is_not_the_disks_ends_the_run(make_slow: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(saving, "prune", fail)
    monkeypatch.setattr(saving, "write_checkpoint", lambda *_: None)
    with pytest.raises(MemoryError):
        make_slow(save_every=1).fit()
