"""What a card of the H100's and H200's class is to reach with the base model, on lengths like those of news.

On a CPU the same code runs with a tiny model, and reaches nothing. ``-s`` shows the numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from summarizer.benchmark.workload import TrainingWorkload, news_batches, planned_batches
from summarizer.data.batch import Batch
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.generator import Generator
from summarizer.machine import matmul_peak
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime
from summarizer.tokenizer import Tokenizer

MakeModel = Callable[..., Transformer]

pytestmark = pytest.mark.slow

LEAST_UTILIZATION = 0.40
MOST_SECONDS = 60.0


def test_training_reaches_40_percent_of_what_matrix_products_reach(
    make_model: MakeModel,
    runtime_of: Callable[..., Runtime],
    make_update: Callable[[Transformer, Runtime], Callable[[int, list[Batch]], Any]],
    vocab_size: int,
    device: torch.device,
    on_gpu: bool,
) -> None:
    most = {"batches": 12, "batch_size": 112} if on_gpu else {"batches": 3, "batch_size": 2, "max_source_tokens": 20}
    batches = [batch.pin_memory() if on_gpu else batch for batch in planned_batches(
        TrainingWorkload(**most), vocab_size, seed=1
    )]  # fmt: skip
    runtime = runtime_of(Precision.bf16)
    update = make_update(make_model(), runtime)
    for step, batch in enumerate(batches, start=1):
        update(step, [batch])
    began, flops, tokens = time.perf_counter(), 0, 0
    for step, batch in enumerate(batches, start=1):
        report = update(step, [batch])  # waits for the device
        flops, tokens = flops + report.flops, tokens + report.real_tokens
    seconds = time.perf_counter() - began
    peak = matmul_peak(device, torch.bfloat16)
    utilization = flops / seconds / peak
    print(
        f"\ntraining: {tokens / seconds:,.0f} real tokens/s, {flops / seconds / 1e12:,.3f} TFLOP/s, "
        f"{utilization:.1%} of {peak / 1e12:,.3f}"
    )
    assert utilization >= (LEAST_UTILIZATION if on_gpu else 0)


class Numbers:
    """A tokenizer of documents that are written as numbers."""

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def test_3000_articles_are_summarized_by_a_beam_of_4_within_a_minute(
    make_model: MakeModel, runtime_of: Callable[..., Runtime], vocab_size: int, device: torch.device, on_gpu: bool
) -> None:
    """Untrained weights hardly ever end a summary, so this is more work than a trained model has."""
    count, most, longest = (3000, 1000, 128) if on_gpu else (5, 30, 6)
    workload = TrainingWorkload(batches=1, batch_size=count, max_source_tokens=most, max_target_tokens=20)
    (articles,) = news_batches(workload, vocab_size, seed=1)
    rows = zip(articles.source_BS, articles.source_lengths_B.tolist(), strict=True)
    documents = [" ".join(map(str, row[: length - 1].tolist())) for row, length in rows]
    runtime = runtime_of(Precision.bf16)
    generator = Generator(
        make_model().eval(),
        cast(Tokenizer, Numbers()),
        DecodingConfig(beam_size=4, max_tokens=longest, max_batch_tokens=262_144),
        max_source_tokens=most,
        device=device,
        autocast=runtime.autocast,
        static=True,
    )
    began = time.perf_counter()
    summaries = generator.generate(documents)
    seconds = time.perf_counter() - began
    print(f"\ndecoding: {len(summaries):,} articles in {seconds:.1f} s")
    assert len(summaries) == count
    assert seconds <= MOST_SECONDS
