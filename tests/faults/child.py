"""What happens in the process of one attempt: a training run, watched, and disturbed if so ordered."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from points import Point, Points

from summarizer.commands import train as command
from summarizer.config import TrainConfig
from summarizer.data.batch import Batch
from summarizer.errors import UserError
from summarizer.sharding import whole
from summarizer.training.saving import THREAD_NAME
from summarizer.training.step import StepReport, Updater


@dataclass(frozen=True)
class Order:
    """What a process shall do. ``notes`` is a folder beside the run, for what the process tells of itself."""

    config: TrainConfig
    notes: Path
    count: bool = False  # note the points of progress
    kill_at: Point | None = None  # send signal_number to itself there
    signal_number: int = signal.SIGKILL
    before_step: tuple[int, Callable[[], None]] | None = None  # call this before that update, when no save is under way
    folder: Path | None = None  # to work in
    links_may_lead_out: bool = False  # of the run folder: the tests' way to a device in it
    output: Path | None = None  # standard output and error, if not a file in ``notes``
    rank: int = 0
    size: int = 1  # processes that train together, and meet at ``port``
    port: int = 0


def attempt(order: Order) -> None:
    """Train as the script does: exit status 2 and one line for a UserError."""
    multiprocessing.set_start_method("fork", force=True)  # the workers of data loaders, as in a process started by hand
    _redirect_output(order.output or order.notes / "output.txt")
    if order.size > 1:
        names = {"RANK": order.rank, "LOCAL_RANK": order.rank, "WORLD_SIZE": order.size, "MASTER_PORT": order.port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
    if order.folder is not None:
        os.chdir(order.folder)
    if order.links_may_lead_out:
        command.refuse_ways_out = lambda run_dir: None
    _note_examples(order)
    if order.count or order.kill_at is not None:
        folders = (Path(order.config.run_dir or "outputs"), Path(order.config.data.cache_dir))
        Points(order.notes / "points.txt", folders, order.kill_at, order.signal_number).watch()
    try:
        command.train(order.config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _redirect_output(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _note_examples(order: Order) -> None:
    """Append to ``seen.jsonl`` the step that the attempt begins after, and the examples of each update it does."""
    descriptor = os.open(order.notes / "seen.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    resume, update = command.resume, Updater.__call__

    def note(kind: str, value: Any) -> None:
        os.write(descriptor, (json.dumps({kind: value}) + "\n").encode())

    def noted_resume(*arguments: Any, **named: Any) -> Any:
        state = resume(*arguments, **named)
        note("after", state.step)
        return state

    def noted_update(self: Updater, step: int, batches: Sequence[Batch], **named: Any) -> StepReport:
        if order.before_step is not None and step == order.before_step[0]:
            for thread in threading.enumerate():
                if thread.name == THREAD_NAME:
                    thread.join()
            order.before_step[1]()
        report = update(self, step, batches, **named)
        note("update", [step, [list(batch.ids) for batch in batches]])
        if order.size > 1:
            weights = b"".join(whole(each.detach()).numpy().tobytes() for each in self.model.parameters())
            note("weights", [step, hashlib.sha256(weights).hexdigest()])
        return report

    command.resume = noted_resume
    Updater.__call__ = noted_update  # type: ignore[method-assign]


def wait_for(path: Path, *, seconds: float = 120.0) -> None:
    """Return when ``path`` exists."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.05)
