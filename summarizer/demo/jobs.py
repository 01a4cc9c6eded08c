"""Computations in, events out: one at a time, the others wait in a queue that is not endless."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from summarizer.demo.requests import Refusal
from summarizer.errors import UserError

logger = logging.getLogger(__name__)

Event = dict[str, Any]


class Report(Protocol):
    """What a computation calls with what is written so far: it may raise."""

    def __call__(self, text: str, parts: int = 0) -> None:
        """:param parts: of a long text, if these are what is being summarized."""
        ...


Work = Callable[[Report], dict[str, Any]]

FINAL = ("done", "failed")


class _Cancelled(Exception):  # noqa: N818 - the reader has gone: nothing has gone wrong
    """Ends a computation nobody waits for any more."""


class _TookTooLong(Exception):  # noqa: N818
    """Ends a computation others wait for."""


class Job:
    """A computation, and what there is to tell of it: waiting, started, partial, and at last done or failed."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.cancelled = threading.Event()

    def tell(self, event: str, **content: Any) -> None:
        self.events.put({"event": event, **content})


class JobQueue:
    """Computes on a thread of its own, in the order of arrival.

    :param most_waiting: how many may wait; one more is refused.
    :param time_limit: seconds that one computation may take, looked at whenever it reports.
    """

    def __init__(self, *, most_waiting: int, time_limit: float) -> None:
        self._most_waiting = most_waiting
        self._time_limit = time_limit
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._compute_all, name="summarizing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, patience: float = 10.0) -> None:
        """End the computation at its next report, refuse the waiting ones, and take no more."""
        with self._changed:
            self._stopping = True
            dropped = list(self._waiting)
            self._waiting.clear()
            if self._running is not None:
                dropped.append(self._running)
            self._changed.notify_all()
        for job in dropped:
            job.cancelled.set()
            job.tell("failed", message="the program behind this page is ending")
        self._thread.join(patience)

    def submit(self, work: Work) -> Job:
        """Queue a computation. Raises Refusal if too many wait."""
        job = Job(work)
        with self._changed:
            if self._stopping:
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the program behind this page is ending")
            if len(self._waiting) >= self._most_waiting:
                raise Refusal(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"{self._most_waiting} {'text is' if self._most_waiting == 1 else 'texts are'} waiting already: "
                    "try again later",
                )
            self._waiting.append(job)
            job.tell("waiting", before=len(self._waiting) - (self._running is None))
            self._changed.notify_all()
        return job

    def cancel(self, job: Job) -> None:
        """Forget a job; if it is being computed, that ends at its next report. Does nothing to a finished one."""
        job.cancelled.set()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._tell_places()

    def _tell_places(self) -> None:
        for before, job in enumerate(self._waiting, start=0 if self._running is None else 1):
            job.tell("waiting", before=before)

    def _next(self) -> Job | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return None
            self._running = self._waiting.popleft()
            self._tell_places()
            return self._running

    def _compute_all(self) -> None:
        while (job := self._next()) is not None:
            self._compute(job)

    def _compute(self, job: Job) -> None:
        started = time.monotonic()

        def report(text: str, parts: int = 0) -> None:
            if job.cancelled.is_set():
                raise _Cancelled
            if time.monotonic() - started > self._time_limit:
                raise _TookTooLong
            job.tell("partial", text=text, **({"parts": parts} if parts else {}))

        if job.cancelled.is_set():
            return
        job.tell("started")
        try:
            result = job.work(report)
        except _Cancelled:
            pass
        except _TookTooLong:
            job.tell("failed", message=f"this took longer than {self._time_limit:g} seconds: ask for less")
        except UserError as error:
            job.tell("failed", message=str(error))
        except Exception:
            logger.exception("a summary failed")
            job.tell("failed", message="this failed; the program behind this page has printed why")
        else:
            job.tell("done", seconds=round(time.monotonic() - started, 3), **result)
