"""The whole of model, training and search learns what it must be able to learn."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from summarizer.commands.preparation import prepare
from summarizer.data.batch import Batch, collate
from summarizer.data.config import DataConfig, DataLimit
from summarizer.data.example import EncodedExample
from summarizer.decoding.generator import Generator
from summarizer.decoding.search import DecodingConfig
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime, seed_step
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, TokenizerConfig
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.schedule import ScheduleConfig, ScheduleKind, learning_rate_factor
from summarizer.training.step import Updater

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LETTERS = string.ascii_lowercase[:12]
FIRST_LETTER_ID = END_ID + 1


class LetterTokenizer:
    """One token per letter."""

    vocab_size = FIRST_LETTER_ID + len(LETTERS)

    def encode(self, text: str) -> list[int]:
        return [FIRST_LETTER_ID + LETTERS.index(letter) for letter in text]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(LETTERS[number - FIRST_LETTER_ID] for number in ids)


@pytest.mark.slow
def test_a_tiny_model_learns_to_copy_words_it_has_never_seen() -> None:
    random_source = random.Random(4)
    model = tiny_model(LetterTokenizer.vocab_size, width=64)
    update = updater(model, lr=2e-3, steps=400)
    seen: set[str] = set()
    for step in range(1, 401):
        words = [random_word(random_source) for _ in range(64)]
        seen.update(words)
        update(step, [copying_batch(words)])
    unseen = [word for word in (random_word(random_source) for _ in range(300)) if word not in seen]
    assert len(unseen) > 100
    share = np.mean([copy == word for copy, word in zip(greedy(model, unseen), unseen, strict=True)])
    assert share >= 0.95, f"only {share:.0%} of {len(unseen)} unseen words were copied exactly"


@pytest.mark.slow
def test_a_tiny_model_learns_one_batch_of_real_text_by_heart(tmp_path: Path) -> None:
    data = DataConfig(
        path=str(SAMPLE),
        limit=DataLimit(train=8, validation=1),
        max_source_tokens=64,
        max_target_tokens=32,
        cache_dir=str(tmp_path),
    )
    prepared = prepare(data, TokenizerConfig(vocab_size=400))
    batch = collate([prepared.train[i] for i in range(8)], pad_id=PAD_ID, start_id=START_ID)
    update = updater(tiny_model(prepared.tokenizer.vocab_size, width=64), lr=3e-3, steps=200)
    for step in range(1, 201):
        report = update(step, [batch])
    assert report.loss < 0.05


def random_word(source: random.Random) -> str:
    return "".join(source.choices(LETTERS, k=source.randint(3, 8)))


def copying_batch(words: Sequence[str]) -> Batch:
    encoded = [np.array([*LetterTokenizer().encode(word), END_ID], dtype=np.int32) for word in words]
    examples = [EncodedExample(word, ids, ids) for word, ids in zip(words, encoded, strict=True)]
    return collate(examples, pad_id=PAD_ID, start_id=START_ID)


def greedy(model: Transformer, words: Sequence[str]) -> list[str]:
    tokenizer: Any = LetterTokenizer()
    config = DecodingConfig(beam_size=1, max_tokens=12, no_repeat_ngram_size=0)
    generator = Generator(model, tokenizer, config, max_source_tokens=12, device=torch.device("cpu"))
    return [summary.text for summary in generator.generate(words)]


def tiny_model(vocab_size: int, *, width: int) -> Transformer:
    seed_step(1, 0)
    sizes = TransformerConfig(width=width, num_heads=4, encoder_layers=1, decoder_layers=1, dropout=0.0)
    return Transformer(sizes, vocab_size)


def updater(model: Transformer, *, lr: float, steps: int) -> Updater:
    schedule = ScheduleConfig(kind=ScheduleKind.linear, warmup_steps=steps // 10)
    return Updater(
        model,
        build_optimizer(model, OptimizerConfig(lr=lr)),
        runtime=Runtime(torch.device("cpu"), Precision.fp32),
        learning_rate=lambda step: lr * learning_rate_factor(step, schedule, max_steps=steps),
        label_smoothing=0.0,
        clip_norm=1.0,
        seed=1,
    )
