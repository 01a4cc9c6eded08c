"""Real articles, long and short ones beside each other, in single precision: a summary is the same in any company."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import torch

from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.generator import Generator
from summarizer.evaluation.utility import rouge_utility
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import Tokenizer, TokenizerConfig

pytestmark = pytest.mark.slow

COUNT = 12
SAMPLE = Path(__file__).parents[3] / "data" / "sample" / "test.jsonl.gz"


@pytest.fixture(scope="module")
def articles() -> list[str]:
    """News where there is some; else the reports of the bundled sample, some cut short."""
    folder = os.environ.get("SUMMARIZER_DATA")
    if folder is not None:
        path = next(Path(folder, "cnn_dailymail").glob("test-*.parquet"))
        table = parquet.read_table(path, columns=["article"])
        return [str(text) for text in table.slice(0, COUNT)["article"].to_pylist()]
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as lines:
        return [str(json.loads(next(lines))["document"])[: 100 + 60 * (n % 9)] for n in range(COUNT)]


@pytest.fixture(scope="module")
def generator(articles: list[str]) -> Generator:
    tokenizer = Tokenizer.train(articles, TokenizerConfig(vocab_size=600))
    torch.manual_seed(1)
    sizes = {"width": 32, "num_heads": 4, "encoder_layers": 2, "decoder_layers": 2, "feed_forward_dim": 64}
    model = Transformer(TransformerConfig(**sizes, pointer=PointerConfig(enabled=True)), tokenizer.vocab_size)
    with torch.no_grad():  # untrained weights are so small that every document would get one summary
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return Generator(
        model,
        tokenizer,
        DecodingConfig(max_tokens=24),
        max_source_tokens=400,
        device=torch.device("cpu"),
        utility=rouge_utility(),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam_groups": 2, "coverage_penalty": 0.5},
        {"method": DecodingMethod.sample, "min_p": 0.05},
    ],
    ids=["beam", "groups", "sample"],
)
def test_a_summary_is_the_same_alone_and_in_any_order_and_batch(
    generator: Generator, articles: list[str], settings: dict[str, object]
) -> None:
    def summaries(texts: list[str], max_batch_tokens: int = 32768) -> list[str]:
        config = DecodingConfig(**{"max_tokens": 24, "max_batch_tokens": max_batch_tokens, **settings})  # type: ignore[arg-type]
        return [summary.text for summary in generator.with_config(config).generate(texts)]

    together = summaries(articles)
    assert len(set(together)) > COUNT // 2
    assert summaries(articles, max_batch_tokens=1) == together
    assert summaries(articles[::-1], max_batch_tokens=3000)[::-1] == together
