"""The processes that train one model together, as ``torchrun`` starts them; most runs have one.

PyTorch's process group carries everything: gloo between CPUs, NCCL between GPUs. Gradients are added up once an update
is accumulated, and not, as DistributedDataParallel does it, while the last backward pass runs: nothing is exchanged
between a process's first and last piece of work, so that one of them may run out of memory, or have more pieces than
another, and all can still agree on what to do.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store, _abort_process_group, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from summarizer.errors import EXIT_USER_ERROR, UserError

T = TypeVar("T")
P = ParamSpec("P")

_GLANCE = 0.02  # seconds
_BUCKET = 1 << 23  # numbers that travel together: 32 MiB
# To find each other again after a restart; a process that ended before all had met is waited for no longer.
_PATIENCE_TO_MEET = timedelta(minutes=5)
# From then on torchrun notices a process that died, and one that encodes a large data set is alive.
_PATIENCE = timedelta(days=1)


class PeerLostError(Exception):
    """Another process of this run is gone, and has said why."""


@contextmanager
def noticing_loss() -> Iterator[None]:
    """For work that exchanges with others in passing: a lost connection becomes PeerLostError, other errors stay."""
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        raise _lost(error) from error


def _noticing_loss(call: Callable[P, T]) -> Callable[P, T]:
    """What a lost connection raises, as PeerLostError."""

    @wraps(call)
    def guarded(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return call(*arguments, **named)
        except RuntimeError as error:
            raise _lost(error) from error

    return guarded


def _lost(error: RuntimeError) -> PeerLostError:
    """Without where in PyTorch's sources it was raised, and without its advice."""
    first_line = str(error).partition("\n")[0]
    return PeerLostError(re.sub(r"\[[^]]*\.cc:\d+\] ", "", first_line).partition(". ")[0])


class Processes:
    """All of a run, and which of them this one is. Each method must be called by all, in the same order.

    :param rank: of this process, from 0. That of the main one, which alone writes and reports, is 0.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank  # among those of its machine

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Those of ``items`` that are this process's to work on; :meth:`gather` brings the results together."""
        return items[self.rank :: self.size]

    def gather(self, mine: Sequence[T]) -> list[T]:
        """The results of all for their :meth:`share`, in the order of the items."""
        shares = self.exchange(list(mine))
        count = sum(map(len, shares))
        return [shares[i % self.size][i // self.size] for i in range(count)]

    @_noticing_loss
    def exchange(self, value: T) -> list[T]:
        """What each process gives, by rank."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_main(self, value: T) -> T:
        """What the main process gives."""
        return self.exchange(value)[0]

    @_noticing_loss
    def sum(self, values: Tensor) -> Tensor:
        """The sums over all processes, elementwise; the same to the last bit for each of them."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    @_noticing_loss
    def largest(self, number: int) -> int:
        if self.size == 1:
            return number
        value = torch.tensor(int(number))
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    @_noticing_loss
    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Put into each gradient the sum over all processes."""
        if self.size == 1:
            return
        for bucket in _buckets([each.grad for each in parameters if each.grad is not None]):
            together = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(together)
            totals = torch.split(together, [each.numel() for each in bucket])
            for gradient, total in zip(bucket, totals, strict=True):
                gradient.copy_(total.view_as(gradient))

    def agreed(self, work: Callable[[], T]) -> T:
        """What ``work`` gives. A UserError of any ends all; of those that have the same one, the first tells it.

        :raises SystemExit: another tells the error.
        """
        result, error = None, None
        try:
            result = work()
        except UserError as raised:
            error = raised
        messages = self.exchange(None if error is None else str(error))
        if not any(messages):
            return result  # type: ignore[return-value]
        if error is not None and messages.index(str(error)) == self.rank:
            raise error
        raise SystemExit(EXIT_USER_ERROR)

    @contextmanager
    def one_by_machine_first(self) -> Iterator[None]:
        """The first process of each machine does what is within before the others: they find its files."""
        if self.local_rank > 0:
            self.exchange(None)
        yield
        if self.local_rank == 0:
            self.exchange(None)


ALONE = Processes()


def is_parallel() -> bool:
    """Whether torchrun, or somebody in its place, started several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_spoken_for() -> bool:
    """Whether another process, started with this one, says what every one of them would have to say."""
    return is_parallel() and os.environ.get("RANK", "0") != "0"


@contextmanager
def joined() -> Iterator[Processes]:
    """All processes of this run; :data:`ALONE` where nobody started several."""
    if not is_parallel():
        yield ALONE
        return
    processes = _meet()
    try:
        yield processes
    except Exception:
        with suppress(RuntimeError):  # not all releases can; the process ends anyway
            _abort_process_group()  # without waiting for what is under way: an exchange that others may never join
        raise
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


@_noticing_loss
def _meet() -> Processes:
    store, rank, size = next(rendezvous("env://", timeout=_PATIENCE_TO_MEET))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(_agree_on_a_name(store, rank, size), store),
        rank=rank,
        world_size=size,
        timeout=_PATIENCE_TO_MEET,
    )
    processes = Processes(rank, size, int(os.environ.get("LOCAL_RANK", "0")))
    processes.exchange(None)  # nobody leaves before all are here, or the others would wait for it
    _set_pg_timeout(_PATIENCE, dist.group.WORLD)
    return processes


def _agree_on_a_name(store: Store, rank: int, size: int) -> str:
    """A name that no earlier meeting in ``store`` had, the same for all.

    When torchrun starts processes again, they find in its store what those before them left there, addresses among
    it, and nothing tells them so: machines do not even count restarts alike. So each asks under a name that it made up,
    the first answers whatever it is asked, and a question from the past does no harm.
    """
    if rank == 0:
        return _answer_all(store, size)
    question = uuid.uuid4().hex
    store.set(f"asks/{rank}", question)
    name = store.get(f"answers/{question}").decode()
    store.set(f"{name}/knows/{rank}", "")
    return name


def _answer_all(store: Store, size: int) -> str:
    name = uuid.uuid4().hex
    missing, answered = set(range(1, size)), dict[int, str]()
    deadline = time.monotonic() + _PATIENCE_TO_MEET.total_seconds()
    while missing:
        for other in filter(lambda other: store.check([f"asks/{other}"]), sorted(missing)):
            question = store.get(f"asks/{other}").decode()
            if answered.get(other) != question:
                store.set(f"answers/{question}", name)
                answered[other] = question
        missing = {other for other in missing if not store.check([f"{name}/knows/{other}"])}
        if time.monotonic() > deadline:
            raise RuntimeError(f"of {size} processes, {sorted(missing)} did not come")
        time.sleep(_GLANCE)
    return name


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type together, up to so many numbers."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        total = sum(each.numel() for each in bucket) + gradient.numel()
        if bucket and (total > _BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
