"""Lengths stand for a whole split, and its epoch is planned as training plans it."""

from __future__ import annotations

import numpy as np
import pytest

from summarizer.data.sampler import BatchingConfig, plan_epoch
from summarizer.errors import UserError
from summarizer.planning.lengths import DataSizeConfig, Lengths


def test_an_epoch_is_what_training_plans() -> None:
    random = np.random.default_rng(1)
    source, target = (random.integers(2, most, 500).astype(np.int32) for most in (90, 30))
    batching = BatchingConfig(max_tokens=600)
    epoch = Lengths.known(source, target).epoch(batching)
    real = int(source.sum() + target.sum())
    assert epoch.num_batches == pytest.approx(len(plan_epoch(source, target, batching, seed=0, epoch=0)), rel=0.05)
    assert epoch.real_tokens * epoch.num_batches == pytest.approx(real)
    assert epoch.real_tokens <= epoch.positions <= 600


def test_few_stand_for_many() -> None:
    size = DataSizeConfig(examples=10_000_000, source_tokens=100, target_tokens=20)
    lengths = Lengths.given(size, max_source=80, max_target=128)
    epoch = lengths.epoch(BatchingConfig(max_tokens=1000, length_step=1))
    assert len(lengths.source) < 100_000
    assert (int(lengths.source[0]), int(lengths.target[0]), lengths.longest) == (80, 20, (80, 128))
    assert epoch.num_batches == pytest.approx(10_000_000 / 10, rel=0.01)


def test_shorter_documents_leave_summaries_alone() -> None:
    lengths = Lengths.known(np.array([5, 90], dtype=np.int32), np.array([7, 3], dtype=np.int32)).cut(40)
    assert sorted(lengths.source) == [5, 40]
    assert sorted(lengths.target) == [3, 7]
    assert lengths.longest == (40, 7)


@pytest.mark.parametrize("name", ["examples", "source_tokens", "target_tokens"])
def test_data_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"data_size\.{name} \(0\) must be at least"):
        DataSizeConfig(**{name: 0}).validate()
