"""One computation at a time, in order; who leaves is forgotten, and who comes too late is told so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from summarizer.demo.jobs import FINAL, Event, Job, JobQueue, Report
from summarizer.demo.requests import Refusal
from summarizer.errors import UserError

Start = Callable[..., JobQueue]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def run(*, most_waiting: int = 3, time_limit: float = 60.0) -> JobQueue:
        jobs = JobQueue(most_waiting=most_waiting, time_limit=time_limit)
        jobs.start()
        started.append(jobs)
        return jobs

    yield run
    for jobs in started:
        jobs.stop(patience=60)


def events(job: Job) -> list[Event]:
    """All of them, up to the last one."""
    found = []
    while not found or found[-1]["event"] not in FINAL:
        found.append(job.events.get(timeout=60))
    return found


class Gated:
    """A computation that says when it has begun, and reports for ever until it may end."""

    def __init__(self) -> None:
        self.begun, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, report: Report) -> dict[str, Any]:
        self.begun.set()
        try:
            while not self.gate.wait(0.005):
                report("x")
        finally:
            self.ended.set()
        return {"answer": 42}


def test_what_happens_is_told_in_order(start: Start) -> None:
    def work(report: Report) -> dict[str, Any]:
        report("a")
        report("a b")
        return {"answer": 42}

    found = events(start().submit(work))
    assert [each["event"] for each in found] == ["waiting", "started", "partial", "partial", "done"]
    assert [each["text"] for each in found if "text" in each] == ["a", "a b"]
    assert found[-1]["answer"] == 42
    assert found[-1]["seconds"] >= 0


def test_those_who_wait_are_told_their_place(start: Start) -> None:
    jobs, first = start(), Gated()
    running = jobs.submit(first)
    assert first.begun.wait(60)
    second, third = jobs.submit(lambda _: {}), jobs.submit(lambda _: {})
    assert third.events.get(timeout=60)["before"] == 2
    jobs.cancel(second)
    assert third.events.get(timeout=60)["before"] == 1
    first.gate.set()
    assert events(running)[-1]["event"] == "done"
    assert events(third)[-1]["event"] == "done"


def test_who_moves_up_is_told(start: Start) -> None:
    jobs, first, second = start(), Gated(), Gated()
    jobs.submit(first)
    assert first.begun.wait(60)
    jobs.submit(second)
    third = jobs.submit(lambda _: {})
    assert third.events.get(timeout=60)["before"] == 2
    first.gate.set()
    assert third.events.get(timeout=60) == {"event": "waiting", "before": 1}
    second.gate.set()


def test_one_more_than_may_wait_is_refused_and_a_place_that_gets_free_is_given(start: Start) -> None:
    jobs, first = start(most_waiting=2), Gated()
    jobs.submit(first)
    assert first.begun.wait(60)
    waiting = [jobs.submit(lambda _: {}) for _ in range(2)]
    with pytest.raises(Refusal, match="2 texts are waiting already") as refusal:
        jobs.submit(lambda _: {})
    assert refusal.value.status == 429
    jobs.cancel(waiting[0])
    jobs.submit(lambda _: {})
    first.gate.set()


def test_one_text_is_waiting_and_two_are(start: Start) -> None:
    jobs, first = start(most_waiting=1), Gated()
    jobs.submit(first)
    assert first.begun.wait(60)
    jobs.submit(lambda _: {})
    with pytest.raises(Refusal, match="1 text is waiting already: try again later"):
        jobs.submit(lambda _: {})
    first.gate.set()


def test_a_cancelled_computation_ends_at_its_next_report(start: Start) -> None:
    jobs, first = start(), Gated()
    job = jobs.submit(first)
    assert first.begun.wait(60)
    jobs.cancel(job)
    assert first.ended.wait(60)
    assert events(jobs.submit(lambda _: {"answer": 1}))[-1]["answer"] == 1


def test_one_that_takes_too_long_is_given_up(start: Start) -> None:
    found = events(start(time_limit=0.05).submit(Gated()))
    assert found[-1] == {"event": "failed", "message": "this took longer than 0.05 seconds: ask for less"}


def test_errors_end_a_job_and_not_the_queue(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(_: Report) -> dict[str, Any]:
        raise UserError("seed (x) must be a number")

    def broken(_: Report) -> dict[str, Any]:
        raise MemoryError("/home/me/secret")

    jobs = start()
    assert events(jobs.submit(wrong))[-1]["message"] == "seed (x) must be a number"
    assert caplog.records == []
    message = events(jobs.submit(broken))[-1]["message"]
    assert "secret" not in message
    assert "/home/me/secret" in caplog.text, "who runs the program is told"
    assert events(jobs.submit(lambda _: {}))[-1]["event"] == "done"


def test_stopping_ends_all_and_takes_no_more(start: Start) -> None:
    jobs, first = start(), Gated()
    running = jobs.submit(first)
    assert first.begun.wait(60)
    waiting = jobs.submit(lambda _: {})
    jobs.stop(patience=60)
    assert first.ended.is_set()
    for job in (running, waiting):
        assert events(job)[-1] == {"event": "failed", "message": "the program behind this page is ending"}
    with pytest.raises(Refusal) as refusal:
        jobs.submit(lambda _: {})
    assert refusal.value.status == 503
