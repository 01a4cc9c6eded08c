"""Counts the points of progress of a training process, says where each one is, and dies at a chosen one.

A point is a change of the run folder or the cache, seen by an audit hook; half a written file; or the beginning or
the end of a part of the work. Points are counted, not timed. Checkpoints are written beside the training, so what is
counted is the points of one place, each of which is one thread's: the same number there is the same point on any
machine, whatever the other thread does meanwhile.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from summarizer.checkpoint import files, saving
from summarizer.commands import preparation
from summarizer.data import encoding
from summarizer.data.loader import BatchLoader
from summarizer.decoding.model_search import ModelSearch
from summarizer.evaluation.validation import Validator
from summarizer.training import saving as training_saving
from summarizer.training.metrics_log import MetricsLog
from summarizer.training.saving import THREAD_NAME
from summarizer.training.step import Updater

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
BELOW_A_FOLDER = {"os.remove", "os.rmdir"}  # rmtree names what it removes relative to the folder it is in
TEXTS_PER_POINT = 30  # of those that the tokenizer learns from


# A number among all points, in whatever order the threads reach them; (place, number among its points); or a name.
Point: TypeAlias = int | tuple[str, int] | str


class Points:
    """Notes each point as a line ``<place> <name>`` in ``log``; or the one alone where a signal is to come.

    :param signal_at: the point at which the process sends ``signal_number`` to itself.
    """

    def __init__(
        self, log: Path, folders: tuple[Path, ...], signal_at: Point | None, signal_number: int = signal.SIGKILL
    ) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._folders = tuple(str(folder) for folder in folders)
        self._signal_at = signal_at
        self._signal_number = signal_number
        self._process = os.getpid()  # data loader workers inherit all this
        self._places = {"MainThread": ["elsewhere"], THREAD_NAME: ["saving"]}
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()  # a signal handler may run within it

    def reach(self, name: str) -> None:
        places = self._places.get(threading.current_thread().name)
        if os.getpid() != self._process or places is None:
            return
        with self._lock:
            self._counts[places[-1]] += 1
            is_due = self._signal_at in (self._counts.total(), (places[-1], self._counts[places[-1]]), name)
            if self._signal_at is None or is_due:
                os.write(self._log, f"{places[-1]} {name}\n".encode())
            if is_due:
                self._signal_at = 0  # once
                os.kill(self._process, self._signal_number)

    @contextmanager
    def within(self, place: str | None) -> Iterator[None]:
        places = self._places[threading.current_thread().name]
        places.append(place or places[-1])
        try:
            yield
        finally:
            places.pop()

    def watch(self) -> None:
        """From here on, this process counts."""
        sys.addaudithook(self._audit)
        for owner, name, place in PARTS:
            self._mark(owner, name, place)
        for owner, name in STREAMS:
            self._mark_items(owner, name)
        for owner in (files, saving):
            _tear(owner, self)
        _tear_append(self)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if str(path).startswith(self._folders) or (event in BELOW_A_FOLDER and not os.path.isabs(path)):  # noqa: PTH117
            self.reach(f"{event}({Path(str(path)).name})")

    def _mark(self, owner: Any, name: str, place: str | None) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def marked(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name not in self._places:
                return original(*arguments, **named)
            with self.within(place):
                self.reach(f"before {name}")
                result = original(*arguments, **named)
                self.reach(f"after {name}")
            return result

        setattr(owner, name, marked)

    def _mark_items(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def marked(*arguments: Any, **named: Any) -> Iterator[Any]:
            for number, item in enumerate(original(*arguments, **named)):
                if owner is not preparation or number % TEXTS_PER_POINT == 0:
                    self.reach(f"item of {name}")
                yield item

        setattr(owner, name, marked)


# Owner, function, and the place that it is, unless it is just a part of the place around it.
PARTS: tuple[tuple[Any, str, str | None], ...] = (
    (preparation, "obtain_tokenizer", "tokenizer"),
    (preparation, "encode_split", "encoding"),
    (Updater, "__call__", "updating"),
    (Updater, "_accumulate", None),
    (Updater, "_apply", None),
    (Validator, "__call__", "validating"),
    (Validator, "_rouge", None),
    (ModelSearch, "__call__", None),
    (training_saving, "take_snapshot", None),
    (training_saving, "write_checkpoint", "saving"),
    (training_saving, "write_best", "saving"),
    (training_saving, "prune", "saving"),
    (MetricsLog, "write", None),
    (os, "fsync", None),
)
STREAMS = ((preparation, "_texts"), (BatchLoader, "one_pass"))


def _tear(owner: Any, points: Points) -> None:
    """Let ``write_synced`` of a module write half a file first."""
    original: Callable[..., None] = owner.write_synced

    def write(path: Path, *parts: bytes | memoryview) -> None:
        content = b"".join(parts)
        path.write_bytes(content[: len(content) // 2])
        points.reach(f"half of {path.name}")
        original(path, *parts)

    owner.write_synced = write


def _tear_append(points: Points) -> None:
    """Let the encoded cache append half of a column first."""
    original = encoding._Writer._append

    def append(self: Any, name: str, values: Any) -> None:
        half = len(values) // 2
        original(self, name, values[:half])
        points.reach(f"half of {name}")
        original(self, name, values[half:])

    encoding._Writer._append = append  # type: ignore[method-assign]
