from __future__ import annotations

import hashlib
import multiprocessing
import resource
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from summarizer.data.batch import Batch
from summarizer.data.encoded import EncodedDataset
from summarizer.data.encoding import encode_split
from summarizer.data.example import Example
from summarizer.data.loader import BatchLoader, Position
from summarizer.data.sampler import BatchingConfig
from summarizer.data.sources import ReadReport
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, Tokenizer, TokenizerConfig

EXAMPLES = [Example(str(i), f"document {i} " + "word " * (i % 13), f"summary {i}") for i in range(30)]
BATCHING = BatchingConfig(max_tokens=200, length_step=4, pool_batches=3)


class FakeSplit:
    name = "train"
    report = ReadReport()

    def __iter__(self) -> Iterator[Example]:
        return iter(EXAMPLES)

    def content_hash(self) -> str:
        return hashlib.sha256(repr(EXAMPLES).encode()).hexdigest()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> EncodedDataset:
    tokenizer = Tokenizer.train([example.document for example in EXAMPLES], TokenizerConfig(vocab_size=290))
    cache: Path = tmp_path_factory.mktemp("cache")
    return encode_split(FakeSplit(), tokenizer, max_source_tokens=64, max_target_tokens=64, cache_dir=cache)


def take(loader: BatchLoader, count: int, start: Position | None = None) -> list[tuple[Batch, Position]]:
    return list(islice(loader.batches_from(start or Position()), count))


def assert_same(actual: Iterable[tuple[Batch, Position]], expected: Iterable[tuple[Batch, Position]]) -> None:
    for (batch, position), (other, other_position) in zip(actual, expected, strict=True):
        assert position == other_position
        assert batch.ids == other.ids
        for name, tensor in vars(batch).items():
            if isinstance(tensor, torch.Tensor):
                assert torch.equal(tensor, getattr(other, name)), name


def test_resuming_after_any_batch_continues_the_same_stream(dataset: EncodedDataset) -> None:
    loader = BatchLoader(dataset, BATCHING, seed=5)
    count = loader.num_batches(0) + loader.num_batches(1) + 2
    stream = take(loader, count)
    assert stream[-1][1].epoch == 2, "the stream crosses two ends of an epoch"
    for done, (_, position) in enumerate(stream, start=1):
        resumed = BatchLoader(dataset, BATCHING, seed=5)
        assert_same(take(resumed, count - done, position), stream[done:])


def test_each_epoch_sees_every_example_once_in_another_order(dataset: EncodedDataset) -> None:
    loader = BatchLoader(dataset, BATCHING, seed=0)
    orders = []
    for epoch in range(3):
        batches = take(loader, loader.num_batches(epoch), Position(epoch=epoch))
        assert batches[-1][1] == Position(epoch + 1, 0)
        orders.append([i for batch, _ in batches for i in batch.ids])
    assert all(sorted(order) == sorted(example.id for example in EXAMPLES) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_position_at_the_end_of_an_epoch_is_the_start_of_the_next(dataset: EncodedDataset) -> None:
    loader = BatchLoader(dataset, BATCHING, seed=0)
    end = Position(0, loader.num_batches(0))
    assert_same(take(loader, 3, end), take(loader, 3, Position(1, 0)))


def test_the_number_of_workers_changes_nothing(dataset: EncodedDataset) -> None:
    alone = BatchLoader(dataset, BATCHING, seed=1)
    count = alone.num_batches(0) + 3
    expected = take(alone, count)
    for workers in (1, 2):
        helped = BatchLoader(dataset, BATCHING, seed=1, num_workers=workers)
        assert_same(take(helped, count), expected)
        assert_same(take(helped, count - 4, expected[3][1]), expected[4:])
        assert [batch.ids for batch in helped.one_pass()] == [batch.ids for batch in alone.one_pass()]


def test_reading_leaves_the_global_random_state_alone(dataset: EncodedDataset) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take(BatchLoader(dataset, BATCHING, seed=1), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_pass_sees_every_example_once_and_always_in_the_same_batches(dataset: EncodedDataset) -> None:
    passes = [[batch.ids for batch in BatchLoader(dataset, BATCHING, seed=seed).one_pass()] for seed in (0, 0, 1)]
    assert passes[0] == passes[1] == passes[2]
    assert sorted(i for ids in passes[0] for i in ids) == sorted(example.id for example in EXAMPLES)


def test_batches_are_padded_to_the_grid_within_the_budget(dataset: EncodedDataset) -> None:
    for batch, _ in take(BatchLoader(dataset, BATCHING, seed=0), 10):
        assert batch.source_BS.shape[1] % 4 == batch.target_BT.shape[1] % 4 == 0
        assert batch.num_positions <= BATCHING.max_tokens
        assert (batch.decoder_input_BT[:, 0] == START_ID).all()
        last = (batch.target_lengths_B - 1)[:, None]
        assert (batch.target_BT.gather(1, last) == END_ID).all()
        assert int((batch.source_BS != PAD_ID).sum()) == int(batch.source_lengths_B.sum())


def test_no_batch_of_the_first_epoch_is_larger_than_the_largest(dataset: EncodedDataset) -> None:
    loader = BatchLoader(dataset, BATCHING, seed=3)
    largest = loader.largest_batch()
    batches = [batch for batch, _ in take(loader, loader.num_batches(0))]
    assert largest.num_positions == max(batch.num_positions for batch in batches)
    assert any(batch.ids == largest.ids for batch in batches)


@pytest.fixture
def few_files() -> Iterator[None]:
    """Sixty-four more than are open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 64, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_files")
def test_many_batches_of_workers_are_not_as_many_open_files(dataset: EncodedDataset) -> None:
    held = take(BatchLoader(dataset, BATCHING, seed=0, num_workers=2), 60)
    assert_same(held, take(BatchLoader(dataset, BATCHING, seed=0), 60))


@pytest.mark.parametrize("pin_memory", [False, pytest.param(True, marks=pytest.mark.gpu)])
def test_an_error_leaves_no_worker_that_the_program_would_wait_for(dataset: EncodedDataset, pin_memory: bool) -> None:
    class Broken:
        source_lengths, target_lengths = dataset.source_lengths, dataset.target_lengths

        def __getitem__(self, index: int) -> object:
            raise ValueError("a page of the cache cannot be read")

    loader = BatchLoader(Broken(), BATCHING, seed=0, num_workers=2, pin_memory=pin_memory)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a page of the cache") as _held:  # its traceback holds what was at work
        take(loader, 1)
    assert multiprocessing.active_children() == []
