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
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.generator import Generator
from summarizer.model.config import PointerConfig, PositionKind, TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime, seed_step
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, TokenizerConfig
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.schedule import ScheduleConfig, ScheduleKind, learning_rate_factor
from summarizer.training.step import Updater

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
FEW_LETTERS = string.ascii_lowercase[:12]
FIRST_LETTER_ID = END_ID + 1


class LetterTokenizer:
    """One token per letter."""

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.vocab_size = FIRST_LETTER_ID + len(letters)

    def encode(self, text: str) -> list[int]:
        return [FIRST_LETTER_ID + self.letters.index(letter) for letter in text]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.letters[number - FIRST_LETTER_ID] for number in ids)


@pytest.mark.slow
def test_a_tiny_model_learns_to_copy_words_it_has_never_seen() -> None:
    random_source, tokenizer = random.Random(4), LetterTokenizer(FEW_LETTERS)
    model = tiny_model(tokenizer.vocab_size, width=64)
    seen = learn_to_copy(model, tokenizer, FEW_LETTERS, random_source, lr=2e-3, steps=400)
    unseen = [word for word in random_words(300, FEW_LETTERS, random_source) if word not in seen]
    assert len(unseen) > 100
    share = copied(model, tokenizer, unseen)
    assert share >= 0.95, f"only {share:.0%} of {len(unseen)} unseen words were copied exactly"


@pytest.mark.slow
@pytest.mark.parametrize(("has_pointer", "steps"), [(True, 60), (False, 200)], ids=["pointer", "plain"])
def test_a_pointer_copies_letters_that_it_never_had_to_write_and_a_vocabulary_cannot(
    has_pointer: bool, steps: int
) -> None:
    """In training no word has a capital. The plain model learns to copy too, if longer, but never writes one."""
    random_source, tokenizer = random.Random(4), LetterTokenizer(string.ascii_letters)
    model = tiny_model(
        tokenizer.vocab_size,
        width=64,
        positions=PositionKind.learned,
        max_positions=12,
        pointer=PointerConfig(enabled=has_pointer),
    )
    learn_to_copy(model, tokenizer, string.ascii_lowercase, random_source, lr=3e-3, steps=steps)
    small, capital = (
        copied(model, tokenizer, random_words(200, letters, random_source))
        for letters in (string.ascii_lowercase, string.ascii_uppercase)
    )
    assert small >= 0.9
    assert (capital >= 0.8) if has_pointer else (capital == 0)


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


def random_words(count: int, letters: str, source: random.Random) -> list[str]:
    return ["".join(source.choices(letters, k=source.randint(3, 8))) for _ in range(count)]


def learn_to_copy(
    model: Transformer, tokenizer: LetterTokenizer, letters: str, source: random.Random, *, lr: float, steps: int
) -> set[str]:
    """Train on random words of these letters; return them."""
    update = updater(model, lr=lr, steps=steps)
    seen: set[str] = set()
    for step in range(1, steps + 1):
        words = random_words(64, letters, source)
        seen.update(words)
        update(step, [copying_batch(tokenizer, words)])
    return seen


def copied(model: Transformer, tokenizer: LetterTokenizer, words: Sequence[str]) -> float:
    """Share of the words that greedy search copies exactly."""
    return float(np.mean([copy == word for copy, word in zip(greedy(model, tokenizer, words), words, strict=True)]))


def copying_batch(tokenizer: LetterTokenizer, words: Sequence[str]) -> Batch:
    encoded = [np.array([*tokenizer.encode(word), END_ID], dtype=np.int32) for word in words]
    examples = [EncodedExample(word, ids, ids) for word, ids in zip(words, encoded, strict=True)]
    return collate(examples, pad_id=PAD_ID, start_id=START_ID)


def greedy(model: Transformer, tokenizer: Any, words: Sequence[str]) -> list[str]:
    config = DecodingConfig(beam_size=1, max_tokens=12, no_repeat_ngram_size=0)
    generator = Generator(model, tokenizer, config, max_source_tokens=12, device=torch.device("cpu"))
    return [summary.text for summary in generator.generate(words)]


def tiny_model(vocab_size: int, *, width: int, **changes: Any) -> Transformer:
    seed_step(1, 0)
    sizes = TransformerConfig(width=width, num_heads=4, encoder_layers=1, decoder_layers=1, dropout=0.0, **changes)
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
