"""Attempts at a run by several processes that train together."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import Run


@dataclass
class Team:
    """One run, seen through the notes of each of its processes: ``members[rank]``."""

    members: list[Run]

    def attempt(self, **orders: Any) -> list[int]:
        """The exit statuses by rank. An order that is a list is one for each; else the same is for all."""
        port = _free_port()
        processes = [
            member.start(rank=rank, size=len(self.members), port=port, **_of_rank(orders, rank))
            for rank, member in enumerate(self.members)
        ]
        for process in processes:
            process.join()
        return [process.exitcode or 0 for process in processes]

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


def _of_rank(orders: dict[str, Any], rank: int) -> dict[str, Any]:
    chosen = {name: order[rank] if isinstance(order, list) else order for name, order in orders.items()}
    return {name: order for name, order in chosen.items() if order is not None}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
