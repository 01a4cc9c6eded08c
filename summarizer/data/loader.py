"""An encoded dataset in, an endless stream of batches out, each with the position to resume after it."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import torch
from torch.utils.data import DataLoader, Dataset

from summarizer.data.batch import Batch, collate
from summarizer.data.encoded import EncodedDataset
from summarizer.data.sampler import BatchingConfig, PlannedBatch, plan_epoch, plan_in_length_order
from summarizer.parallel import ALONE, Processes
from summarizer.tokenizer import PAD_ID, START_ID


@dataclass(frozen=True)
class Position:
    """The next batch to read: its epoch, and its index within that epoch."""

    epoch: int = 0
    batch: int = 0


class BatchLoader:
    """Batches of a dataset, in an order that depends on the dataset, the batching and the seed alone."""

    def __init__(
        self,
        dataset: EncodedDataset,
        batching: BatchingConfig,
        *,
        seed: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        """
        :param processes: those that share the batches. Which batches there are, and in what order, does not depend on
            how many they are.
        """
        self._dataset = dataset
        self._batching = batching
        self._seed = seed
        self._num_workers = num_workers
        self._pin_memory = pin_memory
        self._processes = processes

    def batches_from(self, position: Position) -> Generator[tuple[Batch, Position]]:
        """Endless: epoch after epoch, from ``position`` on. With each batch, the position that follows it.

        Of each batch a process gets its share of the rows; where there are fewer than processes, the first of them
        without its target tokens, which adds nothing. Worker processes live as long as the iterator.
        """
        yield from self._load(self._plan_from(position))

    def one_pass(self) -> Iterator[Batch]:
        """Every example once, longest first; each process its share of the batches."""
        lengths = self._dataset.source_lengths, self._dataset.target_lengths
        plan = plan_in_length_order(*lengths, self._batching)
        for batch, _ in self._load((planned, Position()) for planned in self._processes.share(plan)):
            yield batch

    def largest_batch(self) -> Batch:
        """This process's share of the batch of the first epoch with the most positions, padding included.

        Of several, of that with the longest source.
        """
        largest = max(self._plan(0), key=lambda planned: (planned.num_positions, planned.source_length))
        batch, _ = _Collated(self._dataset)[self._rows_of(largest), Position()]
        return batch

    def num_batches(self, epoch: int) -> int:
        """Batches in ``epoch``; epochs differ a little, as shuffled examples fill batches differently."""
        return len(self._plan(epoch))

    def _plan(self, epoch: int) -> list[PlannedBatch]:
        lengths = self._dataset.source_lengths, self._dataset.target_lengths
        return plan_epoch(*lengths, self._batching, seed=self._seed, epoch=epoch)

    def _plan_from(self, position: Position) -> Iterator[tuple[PlannedBatch, Position]]:
        epoch, first = position.epoch, position.batch
        while True:
            plan = self._plan(epoch)
            for i in range(first, len(plan)):
                is_last = i + 1 == len(plan)
                following = Position(epoch + 1, 0) if is_last else Position(epoch, i + 1)
                yield self._rows_of(plan[i]), following
            epoch, first = epoch + 1, 0

    def _rows_of(self, planned: PlannedBatch) -> PlannedBatch:
        mine = planned.indices[self._processes.rank :: self._processes.size]
        if len(mine):
            return replace(planned, indices=mine)
        return replace(planned, indices=planned.indices[:1], has_targets=False)

    def _load(self, plan: Iterator[tuple[PlannedBatch, Position]]) -> Generator[tuple[Batch, Position]]:
        # The plan is the sampler: workers receive planned batches in order and never need to know the epoch.
        loader = DataLoader(
            _Collated(self._dataset),
            batch_size=None,
            sampler=plan,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            worker_init_fn=_leave_stopping_to_parent,
            generator=torch.Generator(),  # its own, so that reading leaves the global random state alone
        )
        batches = iter(loader)
        try:
            for batch, following in batches:
                # What a worker sends stays an open file for each tensor, and a process may have but a thousand.
                yield batch if self._num_workers == 0 or self._pin_memory else batch.copied(), following
        finally:
            # PyTorch ends workers once nobody refers to the iterator, as the traceback of an error does to the last:
            # the program would then wait for them at its end, and they for it.
            if self._num_workers > 0:
                batches._shutdown_workers()  # type: ignore[attr-defined]


class _Collated(Dataset[tuple[Batch, Position]]):
    """The batches of a dataset, indexed by what the sampler planned."""

    def __init__(self, dataset: EncodedDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, item: tuple[PlannedBatch, Position]) -> tuple[Batch, Position]:
        planned, following = item
        batch = collate(
            [self._dataset[int(i)] for i in planned.indices],
            pad_id=PAD_ID,
            start_id=START_ID,
            source_length=planned.source_length,
            target_length=planned.target_length,
        )
        return batch if planned.has_targets else batch.without_targets(), following


def _leave_stopping_to_parent(worker_id: int) -> None:
    """Ctrl-C, and the SIGTERM that schedulers send to all, are for the main process, which stops its workers in order.

    A second SIGTERM is final here as it is there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
