"""Who is timed when, what ratios mean, and what the table says."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

from summarizer.benchmark.contest import Contender, Contest, hold, num_runs
from summarizer.benchmark.report import tables

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def little_garbage() -> Iterator[None]:
    """A contest collects garbage before each run, among all that the tests before have left: a quarter of a second."""
    gc.freeze()
    yield
    gc.unfreeze()


def contest(*contenders: Contender, **settings: object) -> Contest:
    return Contest(title="Waiting", unit="naps", amount=10, contenders=contenders, **settings)  # type: ignore[arg-type]


def test_everybody_works_in_turn_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    both = contest(Contender("a", lambda: calls.append("a")), Contender("b", lambda: calls.append("b")))
    ticks: list[int] = []
    outcome = hold(both, repeats=3, device=CPU, on_run=lambda: ticks.append(1))
    assert calls == ["a", "b"] * 4
    assert len(ticks) == num_runs(both, repeats=3) == 8
    assert [len(each.seconds) for each in outcome.performances] == [3, 3]


def test_a_ratio_above_one_says_that_ours_is_faster() -> None:
    ours, theirs = Contender("ours", lambda: time.sleep(0.005)), Contender("theirs", lambda: time.sleep(0.02))
    first, second = hold(contest(ours, theirs), repeats=3, device=CPU, on_run=lambda: None).performances
    assert first.ours_is_faster == 1
    assert 2 < second.ours_is_faster < 4.5
    assert 10 / 0.04 < second.rate < 10 / 0.02


def test_who_does_more_in_the_same_time_is_faster() -> None:
    ours = Contender("ours", lambda: time.sleep(0.01), amount=30)
    theirs = Contender("theirs", lambda: time.sleep(0.01))
    first, second = hold(contest(ours, theirs), repeats=3, device=CPU, on_run=lambda: None).performances
    assert 2 < second.ours_is_faster < 4.5
    assert first.rate > 2 * second.rate


def test_a_slow_round_is_everybodys() -> None:
    pace = iter([1.0, 1.0, 1.0, 1.0, 20.0, 20.0, 1.0, 1.0])  # of each run; the third round is slow

    def nap(seconds: float) -> None:
        time.sleep(seconds * next(pace))

    one = Contender("ours", lambda: nap(0.004))
    other = Contender("theirs", lambda: nap(0.008))
    performances = hold(contest(one, other), repeats=3, device=CPU, on_run=lambda: None).performances
    assert performances[1].ours_is_faster == pytest.approx(2, rel=0.4)
    fast, slow = sorted(performances[0].seconds)[::2]
    assert slow > 5 * fast


def test_peak_memory_is_that_of_each_alone() -> None:
    def hold_floats(count: int) -> None:
        torch.ones(count)

    small, large = Contender("small", lambda: hold_floats(2**16)), Contender("large", lambda: hold_floats(2**18))
    outcome = hold(contest(small, large, measures_memory=True), repeats=1, device=CPU, on_run=lambda: None)
    assert [each.peak_bytes for each in outcome.performances] == [2**18, 2**20]


def test_the_table_compares_with_ours_in_the_first_row() -> None:
    outcome = hold(
        contest(
            Contender("ours", lambda: time.sleep(0.002)),
            Contender("theirs", lambda: time.sleep(0.02), note="by hand"),
            flops=1e3,
        ),
        repeats=1,
        device=CPU,
        on_run=lambda: None,
    )
    text = tables([outcome], "here", {"before": 1e6, "after": 2e6})
    head, _, ours, theirs = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("here\n")
    assert "theirs: by hand" in text
    for name in ("naps/s", "first is", "of matmul peak"):
        assert name in head
    columns = [cell.strip() for cell in head.split("|")]
    share = [[cell.strip() for cell in row.split("|")][columns.index("of matmul peak")] for row in (ours, theirs)]
    rates = [each.rate for each in outcome.performances]
    assert share == [f"{1e2 * rate / 2e6:.0%}" for rate in rates]
    assert "x" not in [cell.strip() for cell in ours.split("|")][columns.index("first is")]
    assert all(len(one) == len(other) for one, other in pairwise([head, ours, theirs]))
