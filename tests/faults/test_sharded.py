"""A model spread over several processes is trained as a whole one is, by however many, and ends as those end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness import Run
from team import MakeTeam, Team
from test_processes import alone, assert_same_run, make_team

from summarizer.runtime import Strategy

pytestmark = pytest.mark.slow

__all__ = ["alone", "make_team"]


def sharded(team: Team) -> Team:
    config = team.members[0].config
    config = replace(config, runtime=replace(config.runtime, strategy=Strategy.fsdp))
    return Team([Run(config, member.notes) for member in team.members])


@pytest.mark.parametrize("size", [2])
def test_they_do_what_one_process_does(size: int, make_team: MakeTeam, alone: Run) -> None:
    team = sharded(make_team(size))
    assert team.attempt() == [0] * size, team.output
    assert_same_run(team, alone)
    for member in team.members[1:]:
        assert member.output == "", "one of them talks"
