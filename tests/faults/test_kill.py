"""A run that is killed anywhere and started again is, bit for bit, the run that was never killed."""

from __future__ import annotations

import random
import signal
from itertools import chain
from pathlib import Path

import pytest
from harness import KILLED, LAST_STEP, TRAINING_EXAMPLES, MakeRun, Run

from summarizer.checkpoint import load_checkpoint, read_best

pytestmark = pytest.mark.slow

Points = list[tuple[str, str]]

# Where to kill, and how often: the points of each place are cut into as many stretches, and each has its kill.
KILLS = {"tokenizer": 2, "encoding": 4, "updating": 3, "validating": 4, "saving": 8, "elsewhere": 3}


def chosen(points: Points, place: str, stretch: int) -> tuple[str, int]:
    """A point of a place: random, but the same each time."""
    total = sum(where == place for where, _ in points)
    low, high = (total * edge // KILLS[place] for edge in (stretch, stretch + 1))
    return place, random.Random(f"{place} {stretch}").randrange(low, high) + 1


def test_the_whole_run_has_what_makes_these_tests_worth_something(whole: Run) -> None:
    state = whole.checkpoint().trainer_state["state"]
    assert state["step"] == LAST_STEP
    assert state["stopped_early"]
    assert 0 < state["best_step"] < LAST_STEP
    assert state["position"]["batch"] > 0, "the end is within an epoch"
    assert [len(batches) for batches in whole.examples().values()] == [2] * LAST_STEP
    seen = list(chain.from_iterable(chain.from_iterable(whole.examples().values())))
    for start in range(0, len(seen), TRAINING_EXAMPLES):
        epoch = seen[start : start + TRAINING_EXAMPLES]
        assert len(set(epoch)) == len(epoch), "an example comes twice in an epoch"
    assert len(seen) > 2 * TRAINING_EXAMPLES


@pytest.mark.parametrize(
    ("place", "stretch"), [(place, stretch) for place, kills in KILLS.items() for stretch in range(kills)]
)
def test_a_kill_costs_nothing(place: str, stretch: int, points: Points, make_run: MakeRun, whole: Run) -> None:
    run = make_run(fresh=True, num_workers=2 * (stretch % 2))
    assert run.attempt(kill_at=chosen(points, place, stretch)) == KILLED
    assert run.points()[0][0] == place, run.points()
    assert_best_is_there(run)
    assert run.attempt() == 0, run.output
    assert run.differences(whole) == []


def assert_best_is_there(run: Run) -> None:
    """Whatever ``best.json`` names can be summarized with, also before the run goes on."""
    best = read_best(run.folder)
    if best is not None:
        assert load_checkpoint(run.folder / "checkpoints" / f"step-{best.step:07d}").step == best.step


@pytest.mark.parametrize("number", range(2))
def test_one_kill_after_the_other_costs_nothing(number: int, make_run: MakeRun, whole: Run, points: Points) -> None:
    run = make_run(fresh=True, num_workers=2 * (number % 2))
    chance = random.Random(number)
    while run.attempt(kill_at=chance.randrange(len(points) // 3)) == KILLED:
        assert len(run.outcomes) < 40, "no attempt gets anywhere"
    assert run.outcomes[-1] == 0, run.output
    assert len(run.outcomes) > 3
    assert run.differences(whole) == []


def test_a_checkpoint_that_replaces_another_survives_a_kill_between_the_two_renames(
    make_run: MakeRun, whole: Run
) -> None:
    run = make_run()
    stop = {"kill_at": "item of one_pass", "signal_number": signal.SIGTERM}
    assert run.attempt(**stop) == 143, run.output
    assert run.checkpoint().step == 2
    assert run.attempt(kill_at="os.rename(.tmp-step-0000002)") == KILLED
    left = {path.name for path in (run.folder / "checkpoints").iterdir()}
    assert left == {".replaced-step-0000002", ".tmp-step-0000002"}, "both are there under their passing names"
    assert run.attempt() == 0, run.output
    assert "continued after step 2" in run.output
    assert run.differences(whole) == []


def test_two_runs_that_share_a_cache_and_are_killed_in_it_leave_it_clean(make_run: MakeRun) -> None:
    """What one run left there, another one that never gets to the same place removes."""
    run = make_run(fresh=True)
    for name in ("half of source.values", "os.rename(dataset)", "half of .tmp-"):
        run.attempt(kill_at=name)
    assert Path(run.config.data.cache_dir).is_dir()
    assert run.attempt() == 0
    assert run.unfinished() == []
