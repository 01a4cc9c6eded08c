"""Attempts at a run by several processes that train together."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from harness import Run, statuses

from summarizer.runtime import Strategy

# Without dropout, of which each process draws its own.
LENGTH = {"max_steps": 6, "patience": None, "validate_every": 3, "save_every": 3, "best_metric": "loss"}


@dataclass
class Team:
    """One run, seen through the notes of each of its processes: ``members[rank]``."""

    members: list[Run]

    def attempt(self, **orders: Any) -> list[int]:
        """The exit statuses by rank. An order that is a list is one for each; else the same is for all."""
        port = free_port()
        processes = [
            member.start(rank=rank, size=len(self.members), port=port, **_of_rank(orders, rank))
            for rank, member in enumerate(self.members)
        ]
        return statuses(processes)

    @property
    def output(self) -> str:
        return "\n".join(f"-- {rank}\n{member.output}" for rank, member in enumerate(self.members))

    def examples(self) -> dict[int, list[set[str]]]:
        """The examples that made each update, batch by batch, whoever had them."""
        shares = [member.examples() for member in self.members]
        assert len({tuple(share) for share in shares}) == 1, "all did the same updates"
        return {
            step: [set().union(*batches) for batches in zip(*(share[step] for share in shares), strict=True)]
            for step in shares[0]
        }

    def weights(self) -> list[dict[int, str]]:
        """By rank, a hash of the weights after each update."""
        return [dict(self._noted(member, "weights")) for member in self.members]

    @staticmethod
    def _noted(member: Run, kind: str) -> list[Any]:
        lines = (member.notes / "seen.jsonl").read_text(encoding="utf-8").splitlines()
        return [record[kind] for record in map(json.loads, lines) if kind in record]


MakeTeam = Callable[..., Team]


def calm(run: Run, *, strategy: Strategy = Strategy.ddp, **batching: Any) -> Run:
    """The run without what depends on the number of processes or makes rounding matter."""
    config = run.config
    data = replace(config.data, batching=replace(config.data.batching, **batching))
    # AdamW makes a whole step of the rounding of a gradient that should be 0, unless eps is larger.
    optimizer = replace(config.optimizer, eps=1e-3)
    model, runtime = replace(config.model, dropout=0.0), replace(config.runtime, strategy=strategy)
    return Run(replace(config, model=model, data=data, optimizer=optimizer, runtime=runtime), run.notes)


def sets(run: Run) -> dict[int, list[set[str]]]:
    return {step: [set(batch) for batch in batches] for step, batches in run.examples().items()}


def assert_same_weights(mine: Run, its: Run) -> None:
    """To rounding: sums over rows are the same numbers added up in another order."""
    found, expected = mine.checkpoint(), its.checkpoint()
    assert found.step == expected.step
    assert found.trainer_state["state"]["position"] == expected.trainer_state["state"]["position"]
    for name, weight in expected.model.items():
        torch.testing.assert_close(found.model[name], weight, rtol=1e-4, atol=1e-5)


def assert_same_run(team: Team, alone: Run) -> None:
    assert_same_weights(team.members[0], alone)
    assert team.examples() == sets(alone)
    for got, wanted in zip(team.members[0].curves(), alone.curves(), strict=True):
        assert got.keys() == wanted.keys()
        for kind in ("train", "validation"):
            for name, value in wanted.get(kind, {}).items():
                assert got[kind][name] == pytest.approx(value, rel=1e-4, abs=1e-5), (wanted["step"], name)
    assert len(set(map(str, team.weights()))) == 1, "each process has the same weights, bit for bit"


def _of_rank(orders: dict[str, Any], rank: int) -> dict[str, Any]:
    chosen = {name: order[rank] if isinstance(order, list) else order for name, order in orders.items()}
    return {name: order for name, order in chosen.items() if order is not None}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
