"""Several processes that train together are one run: the same updates, one folder, one fate."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch
from harness import KILLED, MakeRun, Run
from launcher import SLOW, children_of, torchrun, wait_for_step
from team import MakeTeam, assert_same_run, sets

from summarizer.errors import UserError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [2, 4])
def test_they_do_what_one_process_does(size: int, make_team: MakeTeam, alone: Run) -> None:
    team = make_team(size)
    assert team.attempt() == [0] * size, team.output
    assert_same_run(team, alone)
    for member in team.members[1:]:
        assert member.output == "", "one of them talks"


def test_batches_of_fewer_rows_than_processes_are_the_same_too(make_team: MakeTeam) -> None:
    single, team = (make_team(size, batching={"max_examples": 3}) for size in (1, 4))
    assert single.members[0].attempt() == 0
    assert team.attempt() == [0] * 4, team.output
    sizes = [len(batch) for batches in sets(single.members[0]).values() for batch in batches]
    assert min(sizes) < 4
    assert_same_run(team, single.members[0])


def test_a_run_goes_on_with_more_processes_and_with_fewer(make_team: MakeTeam, alone: Run) -> None:
    team = make_team(2)
    assert team.attempt(kill_at=[("updating", 4), None], signal_number=signal.SIGTERM) == [143] * 2, team.output
    at = team.members[0].checkpoint().step
    more = make_team(4, team.members[0].folder)
    stop = [None, None, ("updating", 4), None]
    assert more.attempt(kill_at=stop, signal_number=signal.SIGTERM) == [143] * 4, more.output
    assert at < more.members[0].checkpoint().step < 6
    last = make_team(1, team.members[0].folder)
    assert last.members[0].attempt() == 0, last.output
    for name, weight in alone.checkpoint().model.items():
        torch.testing.assert_close(last.members[0].checkpoint().model[name], weight, rtol=1e-4, atol=1e-5)
    done = {**team.examples(), **more.examples(), **sets(last.members[0])}
    assert done == sets(alone)


@pytest.mark.parametrize("size", [2, 4])
def test_a_validation_gives_what_one_process_gives_to_the_last_digit(size: int, make_team: MakeTeam) -> None:
    """Both begin with the same weights, and with the validation that a signal cut short."""
    begun = make_team(1).members[0]
    assert begun.attempt(kill_at="item of one_pass", signal_number=signal.SIGTERM) == 143, begun.output
    assert begun.checkpoint().step == 3
    folders = [begun.folder.with_name(name) for name in ("one", "several")]
    for folder in folders:
        shutil.copytree(begun.folder, folder)
    single, team = make_team(1, folders[0]), make_team(size, folders[1])
    assert single.members[0].attempt() == 0
    assert team.attempt() == [0] * size, team.output
    found = [next(line for line in each.members[0].curves() if line["step"] == 3 and "validation" in line)
             for each in (single, team)]  # fmt: skip
    assert found[0] == found[1]
    assert found[0]["validation"].keys() >= {"loss", "rouge1"}


@pytest.mark.parametrize("place", ["updating", "validating"])
def test_a_signal_to_any_of_them_saves_and_ends_all(place: str, make_team: MakeTeam, alone: Run) -> None:
    team = make_team(2)
    assert team.attempt(kill_at=[None, (place, 6)], signal_number=signal.SIGTERM) == [143, 143], team.output
    assert team.members[0].checkpoint().step == max(team.members[0].examples()) == max(team.members[1].examples())
    assert "Traceback" not in team.output
    assert team.attempt() == [0, 0], team.output
    assert_same_run(team, alone)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("place", ["updating", "validating"])
def test_one_of_them_killed_ends_the_others_in_order_and_the_same_command_goes_on(
    rank: int, place: str, make_team: MakeTeam, alone: Run
) -> None:
    team = make_team(2)
    point = (place, 14 if place == "updating" else 3)
    status = team.attempt(kill_at=[point if rank == each else None for each in range(2)])
    assert status[rank] == KILLED
    assert status[1 - rank] == 1, team.output
    assert "Traceback" not in team.output
    assert team.attempt() == [0, 0], team.output
    assert_same_run(team, alone)
    assert team.members[0].unfinished() == []


# Under torchrun itself


@pytest.fixture
def slow_team(make_team: MakeTeam) -> MakeRun:
    """A run whose updates take long enough to be met by what shall happen to them."""
    return lambda: make_team(1, **SLOW).members[0]


def test_torchrun_restarts_what_was_killed_and_the_result_is_the_same_bit_for_bit(
    slow_team: MakeRun, expected: Run
) -> None:
    run = slow_team()
    with torchrun(run, "--max-restarts=1") as process:
        wait_for_step(run.folder, 7)
        os.kill(children_of(process.pid)[-1], signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "continued after step" in output
    assert_bit_identical(run, expected)


@pytest.mark.parametrize("to_all", [False, True], ids=["to torchrun", "to every process"])
def test_a_scheduler_stops_torchrun_and_the_same_command_goes_on(
    to_all: bool, slow_team: MakeRun, expected: Run
) -> None:
    """Schedulers send SIGTERM to each process of a job, and torchrun hands on its own: that is one request, not two."""
    run = slow_team()
    with torchrun(run) as process:
        wait_for_step(run.folder, 7)
        for each in [*(children_of(process.pid) if to_all else []), process.pid]:
            os.kill(each, signal.SIGTERM)
        output, _ = process.communicate()
    assert process.returncode != 0
    assert "stopped and saved after step" in output
    assert 7 <= run.checkpoint().step < 30
    with torchrun(run) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert_bit_identical(run, expected)


def assert_bit_identical(run: Run, expected: Run) -> None:
    mine, its = run.checkpoint(), expected.checkpoint()
    assert mine.trainer_state == its.trainer_state
    assert all(torch.equal(mine.model[name], weight) for name, weight in its.model.items())
    assert run.curves() == expected.curves()


# In one of them alone


def give_up() -> None:
    raise UserError("the fault of this process")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_is_told_by_it_and_ends_all(rank: int, make_team: MakeTeam) -> None:
    team = make_team(2)
    status = team.attempt(before_step=[(5, give_up) if rank == each else None for each in range(2)])
    assert (status[rank], status[1 - rank]) == (2, 1), team.output
    assert team.members[rank].errors == ["error: the fault of this process"]
    assert team.members[1 - rank].errors == []
    assert "Traceback" not in team.output
    assert team.members[0].checkpoint().step == 3


def run_out_of_memory() -> None:
    """In the process that trains: the next batch in one piece is too much."""
    from summarizer.training.step import Updater

    accumulate = Updater._accumulate

    def refuse(self: Updater, *arguments: Any) -> Any:
        sums = accumulate(self, *arguments)
        if self.pieces == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sums

    Updater._accumulate = refuse  # type: ignore[method-assign]


def test_memory_that_does_not_suffice_for_one_makes_all_take_smaller_pieces(make_team: MakeTeam, alone: Run) -> None:
    team = make_team(2)
    assert team.attempt(before_step=[None, (3, run_out_of_memory)]) == [0, 0], team.output
    assert "batches are computed in 2 pieces from now on" in team.members[0].output
    assert_same_run(team, alone)


def lose_a_loss() -> None:
    """In the process that trains: the loss of the next update is infinite."""
    from summarizer.training import step

    loss = step.batch_loss

    def spoiled(*arguments: Any, **named: Any) -> Any:
        step.batch_loss = loss
        sums = loss(*arguments, **named)
        return replace(sums, loss=sums.loss * torch.inf)

    step.batch_loss = spoiled


def test_a_loss_that_is_not_finite_in_one_is_skipped_by_all_and_names_the_examples_of_all(make_team: MakeTeam) -> None:
    team = make_team(2)
    assert team.attempt(before_step=[None, (2, lose_a_loss)]) == [0, 0], team.output
    (line,) = [line for line in team.output.splitlines() if "is skipped" in line]
    named = set(line.rpartition("examples: ")[2].split(", "))
    assert named == set().union(*team.examples()[2])
    assert len(set(map(str, team.weights()))) == 1


def fill_the_disk() -> None:
    from test_disk_full import limit_file_size

    limit_file_size()


def test_a_best_that_cannot_be_saved_is_the_best_of_none_of_them(make_team: MakeTeam) -> None:
    """And the run ends, as one process does, when too many could not be."""
    team = make_team(2, validate_every=1, save_every=1, max_steps=9, max_failed_saves=3)
    assert team.attempt(before_step=[(4, fill_the_disk), None]) == [2, 1], team.output
    assert "3 saves in a row failed" in team.members[0].errors[-1]
    assert team.members[0].checkpoint().step == 3


def test_a_folder_must_be_named(make_team: MakeTeam) -> None:
    team = make_team(2)
    for member in team.members:
        member.config.run_dir = None
    assert team.attempt() == [2, 2]
    assert [member.output for member in team.members] == [
        "error: run_dir must be given where several processes train together: try run_dir=outputs/mine\n", ""
    ]  # fmt: skip
