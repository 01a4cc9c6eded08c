"""The workload is what it says, and the operations counted are those of a model taken apart."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from summarizer.benchmark.training import model_flops, training_contest
from summarizer.benchmark.workload import TrainingWorkload, news_batches
from summarizer.data.batch import Batch
from summarizer.model.config import TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime

CONFIG = TransformerConfig(width=16, num_heads=2, encoder_layers=2, decoder_layers=3, dropout=0.0)
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


def test_lengths_are_like_those_of_news() -> None:
    batches = news_batches(TrainingWorkload(batches=250, max_target_tokens=1000, max_source_tokens=1000), 50, seed=1)
    sources = torch.cat([batch.source_lengths_B for batch in batches]).double()
    targets = torch.cat([batch.target_lengths_B for batch in batches]).double()
    assert sources.median() == pytest.approx(532, abs=12)
    assert targets.median() == pytest.approx(70, abs=4)
    assert sources.min() >= 60


def test_operations_without_padding_are_those_that_pytorch_counts() -> None:
    vocab_size, length = 50, 12
    batch = Batch(
        ids=("a", "b"),
        source_BS=torch.ones(2, length, dtype=torch.int64),
        source_lengths_B=torch.tensor([length, length]),
        decoder_input_BT=torch.ones(2, length, dtype=torch.int64),
        target_BT=torch.ones(2, length, dtype=torch.int64),
        target_lengths_B=torch.tensor([length, length]),
    )
    model = Transformer(CONFIG, vocab_size).train()
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hidden_BTD = model(batch.source_BS, length_mask(batch.source_lengths_B, length), batch.decoder_input_BT)[0]
        model.project(hidden_BTD).sum().backward()
    # A causal kernel may skip half of what the plain one multiplies.
    skipped = 3 * 2 * 2 * CONFIG.width * CONFIG.decoder_layers * length**2 / 2 * 2
    assert model_flops(CONFIG, vocab_size, batch) == counter.get_total_flops() - skipped


def test_operations_are_those_of_real_tokens() -> None:
    (batch, *_) = news_batches(WORKLOAD, 50, seed=1)
    alone = [
        model_flops(
            CONFIG,
            50,
            Batch(
                ids=("x",),
                source_BS=batch.source_BS[i : i + 1],
                source_lengths_B=batch.source_lengths_B[i : i + 1],
                decoder_input_BT=batch.decoder_input_BT[i : i + 1],
                target_BT=batch.target_BT[i : i + 1],
                target_lengths_B=batch.target_lengths_B[i : i + 1],
            ),
        )
        for i in range(8)
    ]
    assert model_flops(CONFIG, 50, batch) == pytest.approx(sum(alone))


def test_every_contender_learns_from_the_batches() -> None:
    runtime = Runtime(torch.device("cpu"), Precision.fp32)
    contest = training_contest(CONFIG, 50, WORKLOAD, seed=1, runtime=runtime, peers=True)
    names = [each.name for each in contest.contenders]
    assert names[0] == "summarizer"
    assert "torch.nn.Transformer" in names
    for contender in contest.contenders:
        contender.run()
    assert contest.amount == sum(batch.num_real_tokens for batch in news_batches(WORKLOAD, 50, seed=1))
