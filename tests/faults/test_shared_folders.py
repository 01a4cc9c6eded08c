"""One run folder belongs to one run at a time, and each run without a name gets a folder of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from child import wait_for
from harness import KILLED, MakeRun, Run, statuses

from summarizer.checkpoint import RunLock, load_latest

pytestmark = pytest.mark.slow


def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(make_run: MakeRun, whole: Run) -> None:
    first = make_run()
    second = Run(first.config, make_run().notes)
    may_go_on = first.notes / "go"
    process = first.start(before_step=(3, partial(wait_for, may_go_on)))
    wait_for(first.folder / "metrics.jsonl")
    assert second.attempt() == 2
    (error,) = second.errors
    assert f"is in use by process {process.pid} since " in error
    assert "Traceback" not in second.output
    may_go_on.touch()
    assert statuses([process]) == [0], first.output
    assert first.differences(whole) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_run_leaves_no_lock_behind(num_workers: int, make_run: MakeRun, whole: Run) -> None:
    """Its data loader workers outlive it by seconds."""
    run = make_run(num_workers=num_workers)
    assert run.attempt(kill_at="os.mkdir(.tmp-step-0000004)") == KILLED
    with RunLock(run.folder, wait_seconds=0):
        pass
    assert run.attempt() == 0, run.output
    assert run.differences(whole) == []


def test_runs_that_start_together_without_a_name_share_the_cache_and_nothing_else(
    make_run: MakeRun, whole: Run
) -> None:
    runs = [make_run(fresh=True) for _ in range(3)]
    work = runs[0].notes / "work"
    work.mkdir()
    shared = replace(runs[0].config, run_dir=None)
    processes = [Run(shared, run.notes).start(folder=work) for run in runs]
    assert statuses(processes) == [0, 0, 0], [run.output for run in runs]
    folders = list((work / "outputs").iterdir())
    assert len(folders) == len(runs)
    for folder in folders:
        checkpoint = load_latest(folder)
        assert checkpoint is not None
        assert checkpoint.trainer_state == whole.checkpoint().trainer_state
    assert runs[0].unfinished() == []
