"""A model spread over processes (runtime.strategy=fsdp) makes the run of a whole one, and they end as others do."""

from __future__ import annotations

import os
import signal

import pytest
from harness import KILLED, Run
from launcher import children_of, torchrun, wait_for_step
from team import MakeTeam, assert_same_run, assert_same_weights, sets

from summarizer.runtime import Strategy

pytestmark = pytest.mark.slow

FSDP, DDP = Strategy.fsdp, Strategy.ddp


def test_they_do_what_one_process_does_with_a_whole_model(make_team: MakeTeam, alone: Run) -> None:
    """Updates, validations with ROUGE, checkpoints; the next test continues with other numbers of processes."""
    team = make_team(2, strategy=FSDP)
    assert team.attempt() == [0, 0], team.output
    assert_same_run(team, alone)
    assert "2 processes (fsdp)" in team.members[0].output
    assert team.members[1].output == "", "one of them talks"


def test_a_run_goes_on_with_other_numbers_of_processes_and_other_strategies(make_team: MakeTeam, alone: Run) -> None:
    done: dict[int, list[set[str]]] = {}
    folder = None
    for size, strategy in ((1, FSDP), (2, FSDP), (2, DDP), (3, FSDP), (1, DDP)):
        team = make_team(size, folder, strategy=strategy)
        folder = team.members[0].folder
        stop = [*[None] * (size - 1), ("updating", 2)] if size > 1 or strategy is FSDP else None
        status = team.attempt(kill_at=stop, signal_number=signal.SIGTERM)
        assert status == [143 if stop else 0] * size, team.output
        done |= team.examples()
    assert done == sets(alone)
    assert_same_weights(team.members[0], alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_them_killed_ends_the_others_in_order_and_the_same_command_goes_on(
    rank: int, make_team: MakeTeam, alone: Run
) -> None:
    team = make_team(2, strategy=FSDP)
    status = team.attempt(kill_at=[("updating", 14) if rank == each else None for each in range(2)])
    assert status[rank] == KILLED
    assert status[1 - rank] == 1, team.output
    assert "Traceback" not in team.output
    assert team.attempt() == [0, 0], team.output
    assert_same_run(team, alone)
    assert team.members[0].unfinished() == []


def fill_the_disk() -> None:
    from test_disk_full import limit_file_size

    limit_file_size()


def test_a_best_that_cannot_be_saved_is_the_best_of_none_of_them(make_team: MakeTeam) -> None:
    team = make_team(2, strategy=FSDP, validate_every=1, save_every=1, max_steps=9, max_failed_saves=3)
    assert team.attempt(before_step=[(4, fill_the_disk), None]) == [2, 1], team.output
    assert "3 saves in a row failed" in team.members[0].errors[-1]
    assert team.members[0].checkpoint().step == 3


def test_torchrun_restarts_what_was_killed(make_team: MakeTeam) -> None:
    slow = {"accumulate": 8, "max_steps": 10, "validate_every": 10, "save_every": 2}
    single, run = make_team(1, **slow).members[0], make_team(1, strategy=FSDP, **slow).members[0]
    assert single.attempt() == 0, single.output
    with torchrun(run, "--max-restarts=1") as process:
        wait_for_step(run.folder, 4)
        os.kill(children_of(process.pid)[-1], signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "continued after step" in output
    assert_same_weights(run, single)
