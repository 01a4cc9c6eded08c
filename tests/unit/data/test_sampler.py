from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.data.sampler import BatchingConfig, PlannedBatch, plan_epoch, plan_in_length_order
from summarizer.errors import UserError

Lengths = npt.NDArray[np.int32]

pairs = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=80)
configs = st.builds(
    BatchingConfig,
    max_tokens=st.integers(1, 400),
    max_examples=st.none() | st.integers(1, 5),
    length_step=st.integers(1, 9),
    pool_batches=st.integers(1, 6),
)


def as_lengths(examples: list[tuple[int, int]]) -> tuple[Lengths, Lengths]:
    source, target = np.array(examples, dtype=np.int32).T
    return source, target


def news_lengths(count: int, max_source: int = 512) -> tuple[Lengths, Lengths]:
    """Like CNN/DailyMail: articles around 800 tokens, most of them truncated; summaries around 70."""
    rng = np.random.default_rng(0)
    source = np.minimum(max_source, 20 + rng.lognormal(np.log(800), 0.5, count)).astype(np.int32)
    target = np.minimum(128, 5 + rng.lognormal(np.log(70), 0.35, count)).astype(np.int32)
    return source, target


def order(plan: list[PlannedBatch]) -> list[list[int]]:
    return [batch.indices.tolist() for batch in plan]


@given(pairs, configs, st.integers(0, 2**31), st.integers(0, 5))
def test_every_example_is_seen_exactly_once_within_the_budget(
    examples: list[tuple[int, int]], config: BatchingConfig, seed: int, epoch: int
) -> None:
    source, target = as_lengths(examples)
    for plan in (
        plan_epoch(source, target, config, seed=seed, epoch=epoch),
        plan_in_length_order(source, target, config),
    ):
        assert sorted(np.concatenate([batch.indices for batch in plan])) == list(range(len(examples)))
        for batch in plan:
            assert len(batch.indices) == 1 or batch.num_positions <= config.max_tokens
            assert config.max_examples is None or len(batch.indices) <= config.max_examples


@given(pairs, configs)
def test_padded_lengths_are_the_longest_rounded_up_to_the_grid(
    examples: list[tuple[int, int]], config: BatchingConfig
) -> None:
    source, target = as_lengths(examples)
    for batch in plan_epoch(source, target, config, seed=0, epoch=0):
        for padded, lengths in ((batch.source_length, source), (batch.target_length, target)):
            assert padded % config.length_step == 0
            assert 0 <= padded - lengths[batch.indices].max() < config.length_step


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    source, target = news_lengths(2000)
    config = BatchingConfig(max_tokens=4096, pool_batches=16)
    first = order(plan_epoch(source, target, config, seed=1, epoch=0))
    np.random.default_rng(0).random(7)
    np.random.seed(3)
    assert order(plan_epoch(source, target, config, seed=1, epoch=0)) == first
    for seed, epoch in ((1, 1), (2, 0), (0, 1)):
        other = order(plan_epoch(source, target, config, seed=seed, epoch=epoch))
        assert other != first
        assert sorted(map(sorted, other)) != sorted(map(sorted, first)), "the same batches, in another order"


def test_batches_come_without_a_trend_in_length() -> None:
    source, target = news_lengths(20_000, max_source=1024)
    plan = plan_epoch(source, target, BatchingConfig(), seed=0, epoch=0)
    widths = [batch.source_length + batch.target_length for batch in plan]
    assert abs(np.corrcoef(np.arange(len(plan)), widths)[0, 1]) < 0.15


@pytest.mark.parametrize("max_tokens", [8192, 16384, 32768])
@pytest.mark.parametrize("max_source", [320, 512, 1024])
def test_little_is_padding_at_the_lengths_of_news(max_source: int, max_tokens: int) -> None:
    """With the settings of configs/data/cnn_dailymail.yaml."""
    source, target = news_lengths(40_000, max_source)
    config = BatchingConfig(max_tokens=max_tokens, length_step=8, pool_batches=1000)
    plan = plan_epoch(source, target, config, seed=0, epoch=0)
    positions = sum(batch.num_positions for batch in plan)
    assert 1 - (source.sum() + target.sum()) / positions < (0.015 if max_source <= 512 else 0.025)


def test_the_companions_of_an_example_are_new_ones_in_each_epoch() -> None:
    """Sorting must not tie the same examples together for ever."""
    source, target = news_lengths(40_000)
    config = BatchingConfig(max_tokens=8192, length_step=8, pool_batches=1000)
    first, second = (plan_epoch(source, target, config, seed=0, epoch=epoch) for epoch in (0, 1))
    batch_of = np.empty(len(source), dtype=np.int64)
    for number, batch in enumerate(second):
        batch_of[batch.indices] = number
    together = pairs = 0
    for batch in first:
        counts = np.unique(batch_of[batch.indices], return_counts=True)[1]
        together += int((counts * (counts - 1)).sum())
        pairs += len(batch.indices) * (len(batch.indices) - 1)
    assert together / pairs < 0.1


def test_batches_are_full() -> None:
    source, target = news_lengths(5000)
    config = BatchingConfig()
    plan = plan_epoch(source, target, config, seed=0, epoch=0)
    assert np.mean([batch.num_positions for batch in plan]) > 0.9 * config.max_tokens


def test_validation_starts_with_the_longest_examples() -> None:
    source, target = news_lengths(1000)
    widths = [batch.source_length for batch in plan_in_length_order(source, target, BatchingConfig())]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("field", ["max_tokens", "max_examples", "length_step", "pool_batches"])
def test_values_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(UserError, match=rf"{field} \(0\) must be at least 1"):
        BatchingConfig(**{field: 0}).validate()
    BatchingConfig().validate()
