"""The workload is what it says, and everybody does it."""

from __future__ import annotations

import pytest
import torch

from summarizer.benchmark.training import training_contest
from summarizer.benchmark.workload import TrainingWorkload, news_batches, planned_batches
from summarizer.model.config import TransformerConfig
from summarizer.runtime import DeviceKind, Precision, RuntimeConfig

CONFIG = TransformerConfig(width=16, num_heads=2, encoder_layers=2, decoder_layers=3, dropout=0.0)
RUNTIME = RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1, keep_freed_memory=False)
WORKLOAD = TrainingWorkload(batches=3, batch_size=8, max_source_tokens=40, max_target_tokens=20)


def test_batches_are_the_same_for_the_same_seed_and_end_where_they_must() -> None:
    first, again, other = (news_batches(WORKLOAD, 50, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one.source_BS, two.source_BS) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0].source_BS, other[0].source_BS)
    assert len(first) == 3
    for batch in first:
        assert batch.source_BS.shape[1] == int(batch.source_lengths_B.max()) <= 40
        assert batch.target_BT.shape[1] == int(batch.target_lengths_B.max()) <= 20
        assert int(batch.source_BS.max()) < 50


def test_processes_share_the_rows_of_every_planned_batch() -> None:
    whole = planned_batches(WORKLOAD, 50, seed=1)
    shares = [planned_batches(WORKLOAD, 50, seed=1, rank=rank, size=3) for rank in range(3)]
    for batch, *mine in zip(whole, *shares, strict=True):
        assert {each.source_BS.shape[1] for each in mine} == {batch.source_BS.shape[1]}, "as padded as the whole"
        rows = torch.cat([torch.cat((each.source_BS, each.target_BT), dim=1) for each in mine])
        expected = torch.cat((batch.source_BS, batch.target_BT), dim=1)
        assert sorted(rows.tolist()) == sorted(expected.tolist())


def test_lengths_are_like_those_of_news() -> None:
    batches = news_batches(TrainingWorkload(batches=250, max_target_tokens=1000, max_source_tokens=1000), 50, seed=1)
    sources = torch.cat([batch.source_lengths_B for batch in batches]).double()
    targets = torch.cat([batch.target_lengths_B for batch in batches]).double()
    assert sources.median() == pytest.approx(532, abs=12)
    assert targets.median() == pytest.approx(70, abs=4)
    assert sources.min() >= 60


def test_every_contender_learns_from_the_batches() -> None:
    contest = training_contest(CONFIG, 50, WORKLOAD, seed=1, runtime=RUNTIME, peers=True)
    names = [each.name for each in contest.contenders]
    assert names[0] == "summarizer"
    assert "torch.nn.Transformer" in names
    for contender in contest.contenders:
        contender.prepare()()
    assert contest.amount == sum(batch.num_real_tokens for batch in news_batches(WORKLOAD, 50, seed=1))
