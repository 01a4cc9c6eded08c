"""The first signal asks, the second ends, and nobody's handlers are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from summarizer.training.interruption import Interrupted, StopRequest

SIGNALS = [signal.SIGTERM, signal.SIGINT]


class DeliveredError(Exception):
    """What the handlers that stood before raise."""


def earlier_handler(number: int, frame: FrameType | None) -> None:
    raise DeliveredError(number)


@pytest.fixture(autouse=True)
def _earlier_handlers() -> Iterator[None]:
    before = {number: signal.signal(number, earlier_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_interrupts_nothing(number: int) -> None:
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop.signal_number == number
    assert handlers() == [earlier_handler, earlier_handler]


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_signal_does_what_it_did_before(first: int, second: int) -> None:
    with StopRequest() as stop:
        signal.raise_signal(first)
        with pytest.raises(DeliveredError):
            signal.raise_signal(second)
        assert stop.signal_number == first


def test_an_echo_of_the_first_signal_is_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StopRequest(echo_seconds=5.0) as stop:
        for now in (100.0, 101.0, 105.0):  # noqa: B007 - the clock reads it
            signal.raise_signal(signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM
        now = 105.5
        with pytest.raises(DeliveredError):
            signal.raise_signal(signal.SIGINT)
    assert handlers() == [earlier_handler, earlier_handler]


def test_afterwards_the_earlier_handlers_are_back() -> None:
    with StopRequest():
        assert earlier_handler not in handlers()
    assert handlers() == [earlier_handler, earlier_handler]


def test_an_exception_inside_gives_the_handlers_back_too() -> None:
    with pytest.raises(KeyError), StopRequest():
        raise KeyError
    assert handlers() == [earlier_handler, earlier_handler]


def test_leaving_does_not_undo_what_someone_set_after_the_signal() -> None:
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_ends_with_the_status_that_shells_expect(number: int, code: int) -> None:
    error = Interrupted(number)
    assert isinstance(error, SystemExit)
    assert error.code == code


@pytest.mark.parametrize(("signals", "status"), [(1, 143), (2, -signal.SIGTERM)])
def test_a_process_saves_after_one_sigterm_and_dies_of_two(signals: int, status: int) -> None:
    program = (
        "import os, signal\n"
        "from summarizer.training.interruption import Interrupted, StopRequest\n"
        "with StopRequest() as stop:\n"
        f"    for _ in range({signals}):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('saved', flush=True)\n"
        "    raise Interrupted(stop.signal_number)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ("saved\n" if signals == 1 else "")


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]
