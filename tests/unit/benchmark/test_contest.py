"""Who is timed when and where, what ratios mean, and what the table says."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from summarizer.benchmark.contest import Contender, Contest, Work, hold, judge, num_runs
from summarizer.benchmark.report import tables

CPU = torch.device("cpu")


def contest(*contenders: Contender, **settings: object) -> Contest:
    return Contest(title="Waiting", unit="naps", amount=10, contenders=contenders, **settings)  # type: ignore[arg-type]


def nobody() -> Work:
    raise AssertionError("judging starts nobody")


def signing(file: Path, name: str, num_floats: int) -> Work:
    """Work that takes some memory and time, and tells who did it in which process."""

    def run() -> None:
        time.sleep(0.01)
        torch.ones(num_floats)
        with file.open("a") as lines:
            lines.write(f"{name} {os.getpid()}\n")

    return run


@pytest.mark.slow  # processes start
def test_everybody_works_in_turn_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    sizes = {"a": 2**16, "b": 2**18}
    both = contest(*(Contender(name, partial(signing, file, name, size)) for name, size in sizes.items()))
    both = replace(both, measures_memory=True)
    ticks: list[int] = []
    outcome = hold(both, repeats=3, device=CPU, on_run=lambda: ticks.append(1))
    names, processes = zip(*(line.split() for line in file.read_text().splitlines()), strict=True)
    assert "".join(names) == "ab" * 4 + "ab", "a round to warm up, three that count, and one to look at memory"
    assert len(set(zip(names, processes, strict=True))) == len(set(processes) | {str(os.getpid())}) - 1 == 2
    assert len(ticks) == num_runs(both, repeats=3) == 8
    assert [len(each.seconds) for each in outcome.performances] == [3, 3]
    for each in outcome.performances:
        assert all(0.01 <= seconds < 0.5 for seconds in each.seconds), "neither the start of a process nor imports"
    assert [each.peak_bytes for each in outcome.performances] == [2**18, 2**20]


def test_a_ratio_above_one_says_that_ours_is_faster() -> None:
    both = contest(Contender("ours", nobody), Contender("theirs", nobody))
    first, second = judge(both, [(0.5, 2.0)] * 3, [None, None]).performances
    assert (first.ours_is_faster, second.ours_is_faster) == (1, 4)
    assert (first.rate, second.rate) == (20, 5)


def test_who_does_more_in_the_same_time_is_faster() -> None:
    both = contest(Contender("ours", nobody, amount=30), Contender("theirs", nobody))
    first, second = judge(both, [(2.0, 2.0)], [None, None]).performances
    assert (first.rate, second.rate, second.ours_is_faster) == (15, 5, 3)


def test_a_slow_round_is_everybodys() -> None:
    both = contest(Contender("ours", nobody), Contender("theirs", nobody))
    rounds = [(1.0, 2.0), (20.0, 40.0), (1.0, 2.0), (1.0, 40.0)]
    first, second = judge(both, rounds, [None, None]).performances
    assert second.ours_is_faster == 2, "the median of ratios, not the ratio of medians"
    assert (first.seconds, second.seconds) == ([1, 20, 1, 1], [2, 40, 2, 40])
    assert first.rate == 10


def test_the_table_compares_with_ours_in_the_first_row() -> None:
    both = contest(Contender("ours", nobody), Contender("theirs", nobody, note="by hand"), flops=1e3)
    outcome = judge(both, [(0.002, 0.02)], [None, None])
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
