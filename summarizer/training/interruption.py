"""SIGTERM and SIGINT: the first asks for a stop at the next good moment, the second stops at once."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_GLANCE = 0.1  # seconds


class Interrupted(SystemExit):
    """The run was asked to stop, has saved, and ends with the exit status that shells expect of a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)


class StopRequest:
    """While active, notes the first signal in ``signal_number`` instead of dying of it.

    The handler does nothing else, so it is safe at any moment; afterwards the earlier handlers are back, which
    also makes a second signal final.

    :param echo_seconds: a signal so soon after the first is the same request once more: a scheduler sends it to every
        process of a job, torchrun among them, which hands it on.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, *, echo_seconds: float = 0.0) -> None:
        self.echo_seconds = echo_seconds
        self.signal_number: int | None = None
        self._noted_at = 0.0
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in self._SIGNALS:
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def requested(self) -> bool:
        return self.signal_number is not None

    def wait(self) -> None:
        """Until a signal comes."""
        while not self.requested():
            time.sleep(_GLANCE)  # a handler runs at once, but does not end a sleep

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number, self._noted_at = number, time.monotonic()
            if not self.echo_seconds:
                self._restore()
        elif time.monotonic() - self._noted_at > self.echo_seconds:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        while self._earlier:
            number, handler = self._earlier.popitem()
            signal.signal(number, handler)
