"""One training run, killed as often as SUMMARIZER_SOAK says, wherever chance wants it; nothing may be lost."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter

import pytest
from harness import KILLED, MakeRun, Run
from points import Point

KILLS = int(os.environ.get("SUMMARIZER_SOAK", "0"))
FRESH_CACHE_EVERY = 10  # attempts begin without a cache, and are killed while they make it

PLACES = {
    "tokenizer": "making the tokenizer",
    "encoding": "writing the encoded cache",
    "updating": "computing an update",
    "validating": "validating",
    "saving": "saving a checkpoint, naming the best, pruning",
    "elsewhere": "anything else: starting, reading, logging",
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KILLS, reason="SUMMARIZER_SOAK=<kills> is not set")]


def test_a_run_killed_again_and_again_loses_nothing(
    make_run: MakeRun, points: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    length = {"max_steps": 4 * KILLS, "patience": None}
    run = make_run(fresh=True, **length)
    chance = random.Random(KILLS)
    while len(run.outcomes) < KILLS:
        number = len(run.outcomes)
        run.config.runtime.num_workers = 2 if number % 3 == 0 else 0
        if number % FRESH_CACHE_EVERY == 0:
            shutil.rmtree(run.cache, ignore_errors=True)
            place = chance.choice(("tokenizer", "encoding"))
            kill_at: Point = (place, chance.randint(1, sum(where == place for where, _ in points)))
        else:
            kill_at = chance.randint(1, 400)  # some saves away at most
        assert run.attempt(kill_at=kill_at) == KILLED, f"attempt {number}: {run.output}"
    last_before = run.checkpoint().step
    assert run.attempt() == 0, run.output
    undisturbed = make_run(**length)
    assert undisturbed.attempt() == 0, undisturbed.output
    lost = run.differences(undisturbed)
    with capsys.disabled():
        print("\n" + table(run, last_before, lost))
    assert lost == []


def table(run: Run, last_before: int, lost: list[str]) -> str:
    kills = Counter(place for place, _ in run.points())
    done = (run.notes / "seen.jsonl").read_text(encoding="utf-8").count("update")
    rows = [f"| {doing} | {kills[place]} |" for place, doing in PLACES.items()]
    rows += [
        f"| **kills, and as many restarts** | **{sum(kills.values())}** |",
        f"| updates saved by the last kill, and in the end | {last_before}, {run.checkpoint().step} |",
        f"| updates done again after a kill | {done - run.checkpoint().step} |",
        f"| lost, or different from the run that was never killed | {'; '.join(lost) or 'nothing'} |",
    ]
    return "\n".join(["| killed while | times |", "|---|---|", *rows])
