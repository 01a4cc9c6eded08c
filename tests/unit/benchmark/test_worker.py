"""A process that serves: what it is asked for, what becomes of it, and what is said where it fails."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from summarizer.benchmark.worker import Serve, started
from summarizer.errors import UserError

pytestmark = pytest.mark.slow  # each of these processes imports PyTorch


@contextmanager
def serving(file: Path) -> Iterator[Serve]:
    def serve(request: object) -> int:
        if request == "bad value":
            raise UserError("value (7) must be 8")
        if request == "bug":
            raise ZeroDivisionError("by nobody")
        if request == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    yield serve
    file.write_text("left")


def test_it_is_one_other_process_that_leaves_what_it_entered(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with started(partial(serving, file)) as worker:
        assert worker.answer() is None
        answers = []
        for _ in range(2):
            worker.ask("who")
            answers.append(worker.answer())
        assert not file.exists()
    assert answers[0] == answers[1] != os.getpid()
    assert file.read_text() == "left"
    with pytest.raises(ProcessLookupError):
        os.kill(answers[0], 0)


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        ("bad value", UserError, r"^value \(7\) must be 8$"),
        ("bug", RuntimeError, "in serve\n(.*\n)*.*ZeroDivisionError: by nobody"),
        ("death", UserError, "has ended; is there memory for all of them"),
    ],
)
def test_failures_are_told_where_the_answer_is_awaited(
    tmp_path: Path, request_: str, kind: type[Exception], words: str
) -> None:
    with started(partial(serving, tmp_path / "file")) as worker:
        worker.answer()
        worker.ask(request_)
        with pytest.raises(kind, match=words):
            worker.answer()


def test_ctrl_c_which_a_terminal_sends_to_all_is_for_the_one_that_started_it(tmp_path: Path) -> None:
    with started(partial(serving, tmp_path / "file")) as worker:
        (child,) = multiprocessing.active_children()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)  # while it imports
        assert worker.answer() is None
        os.kill(child.pid, signal.SIGINT)
        worker.ask("who")
        assert worker.answer() == child.pid
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
