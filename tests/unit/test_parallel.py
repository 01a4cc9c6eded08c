"""What processes share out comes back whole and in order; what they exchange is the same for all."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from summarizer import parallel
from summarizer.errors import UserError
from summarizer.parallel import ALONE, PeerLostError, Processes, joined


@given(items=st.lists(st.integers(), max_size=12), size=st.integers(1, 5))
def test_shares_together_are_all_items_in_their_order(items: list[int], size: int) -> None:
    members = [Processes(rank, size) for rank in range(size)]
    shares = [list(member.share(items)) for member in members]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1, "none has much more to do than another"
    for member in members:
        member.exchange = lambda mine: shares  # type: ignore[method-assign,assignment]
        assert member.gather(shares[member.rank]) == items


def test_one_process_exchanges_with_itself() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert ALONE.is_main
    assert ALONE.exchange("a") == ["a"]
    assert ALONE.from_main("a") == "a"
    assert ALONE.largest(3) == 3
    assert torch.equal(ALONE.sum(tensor), tensor)
    with ALONE.one_by_machine_first():
        pass


@given(sizes=st.lists(st.integers(0, 30), max_size=10), doubles=st.sets(st.integers(0, 9)))
def test_gradients_travel_in_buckets_of_one_type_each_once(sizes: list[int], doubles: set[int]) -> None:
    gradients = [torch.zeros(size, dtype=torch.float64 if i in doubles else torch.float32)
                 for i, size in enumerate(sizes)]  # fmt: skip
    original, parallel._BUCKET = parallel._BUCKET, 40
    try:
        buckets = list(parallel._buckets(gradients))
    finally:
        parallel._BUCKET = original
    assert [id(each) for bucket in buckets for each in bucket] == [id(each) for each in gradients]
    for bucket in buckets:
        assert len({each.dtype for each in bucket}) == 1
        assert len(bucket) == 1 or sum(each.numel() for each in bucket) <= 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_member(rank: int, size: int, port: int, work: Callable[[Processes], Any], results: Any) -> None:
    import os

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))  # fmt: skip
    with joined() as processes:
        try:
            results.put((rank, work(processes)))
        except PeerLostError as error:
            results.put((rank, error.__class__.__name__))
            results.close()
            results.join_thread()
            os._exit(1)


def of_all(size: int, work: Callable[[Processes], Any]) -> list[Any]:
    """What ``work`` gives in each of so many processes."""
    context = multiprocessing.get_context("fork")
    results, port = context.Queue(), free_port()
    members = [context.Process(target=run_member, args=(rank, size, port, work, results)) for rank in range(size)]
    for member in members:
        member.start()
    found = dict(results.get(timeout=60) for _ in members)
    for member in members:
        member.join()
    return [found[rank] for rank in range(size)]


def exchange_all(processes: Processes) -> Any:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.arange(3.0) * (processes.rank + 1)
    untouched = torch.nn.Parameter(torch.zeros(1))
    processes.sum_gradients([parameter, untouched])
    mine = torch.tensor([1.0, processes.rank])
    total = processes.sum(mine)
    with processes.one_by_machine_first():
        pass
    return {
        "exchange": processes.exchange(f"of {processes.rank}"),
        "main": processes.from_main(processes.rank),
        "largest": processes.largest(processes.rank * 7),
        "sum": total.tolist(),
        "mine": mine.tolist(),
        "gather": processes.gather([10 * item for item in processes.share(range(5))]),
        "gradient": parameter.grad.tolist(),
        "untouched": untouched.grad,
    }


@pytest.mark.slow
def test_all_get_the_same() -> None:
    for rank, found in enumerate(of_all(3, exchange_all)):
        assert found == {
            "exchange": ["of 0", "of 1", "of 2"],
            "main": 0,
            "largest": 14,
            "sum": [3.0, 3.0],
            "mine": [1.0, rank],
            "gather": [0, 10, 20, 30, 40],
            "gradient": [0.0, 6.0, 12.0],
            "untouched": None,
        }


def fail_unless_main(processes: Processes) -> list[Any]:
    """What each gets, tells, or ends with, where nobody, two of three with the same, or two with unlike errors fail."""

    def fail(faults: list[str | None]) -> int:
        if faults[processes.rank]:
            raise UserError(faults[processes.rank])
        return processes.rank

    found: list[Any] = []
    for faults in ([None, None, None], [None, "a", "a"], ["a", "b", None]):
        try:
            found.append(processes.agreed(partial(fail, faults)))
        except UserError as error:
            found.append(str(error))
        except SystemExit as error:
            found.append(f"exit {error.code}")
    return found


@pytest.mark.slow
def test_an_error_of_several_is_told_by_the_first_of_them_and_ends_all() -> None:
    assert of_all(3, fail_unless_main) == [[0, "exit 2", "a"], [1, "a", "b"], [2, "exit 2", "exit 2"]]
    assert ALONE.agreed(lambda: 7) == 7
    with pytest.raises(UserError, match="alone"):
        ALONE.agreed(partial(_raise, UserError("alone")))


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("first", [0, 1, 2])
def test_who_meets_again_where_others_met_agrees_on_a_new_name(first: int) -> None:
    """Whoever comes first, and though one of those before did not live to read the answer."""
    store = dist.HashStore()
    store.set("asks/2", "a question from the past")
    names = set()
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            found = [pool.submit(parallel._agree_on_a_name, store, first, 3)]
            time.sleep(0.05)
            found += [pool.submit(parallel._agree_on_a_name, store, rank, 3) for rank in {0, 1, 2} - {first}]
            (name,) = {each.result(timeout=20) for each in found}
        assert name not in names
        names.add(name)


def leave_early(processes: Processes) -> str:
    if processes.rank == 1:
        dist.destroy_process_group()
        return "left"
    processes.exchange("anybody?")
    return "got an answer"


@pytest.mark.slow
def test_who_waits_for_one_that_is_gone_learns_it() -> None:
    assert of_all(2, leave_early)[0] == "PeerLostError"
