"""Lengths like those of real news in; batches of random tokens out, the same for every contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample
from summarizer.data.sampler import BatchingConfig, plan_epoch
from summarizer.errors import UserError
from summarizer.tokenizer import END_ID, PAD_ID, START_ID

# Tokens of articles cut to 400 words and of their summaries: a part of CNN/DailyMail, 8,000 pieces. The shares between
# are interpolated.
_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SOURCE_QUANTILES = (60, 284, 444, 532, 573, 643, 974)
_TARGET_QUANTILES = (14, 43, 56, 70, 86, 122, 841)

_FIRST_ORDINARY_ID = 4  # after padding, unknown, start and end


@dataclass(kw_only=True)
class TrainingWorkload:
    """What one timing of ``what=train`` does: an update for each of a few batches of random order and length."""

    batches: int = 4
    batch_size: int = 8
    max_source_tokens: int = 400
    max_target_tokens: int = 100

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        require_positive(self, "train", ("batches", "batch_size"))
        require_positive(self, "train", ("max_source_tokens", "max_target_tokens"), least=2)


def require_positive(workload: object, prefix: str, names: Sequence[str], least: int = 1) -> None:
    """Raise UserError for the first of these settings below ``least``."""
    for name in names:
        if getattr(workload, name) < least:
            raise UserError(f"{prefix}.{name} ({getattr(workload, name)}) must be at least {least}")


def news_batches(workload: TrainingWorkload, vocab_size: int, *, seed: int) -> list[Batch]:
    """Batches of random examples, padded to the longest of them on each side; lengths vary as they do in news."""
    examples = _news_examples(workload, vocab_size, workload.batches * workload.batch_size, seed=seed)
    size = workload.batch_size
    return [_collated(examples[start : start + size]) for start in range(0, len(examples), size)]


def planned_batches(
    workload: TrainingWorkload, vocab_size: int, *, seed: int, rank: int = 0, size: int = 1
) -> list[Batch]:
    """The first batches of an epoch as training plans it, with as many positions as :func:`news_batches` have.

    Of ``size`` processes that train together, the one of this ``rank`` gets its share of the rows.
    """
    theirs = news_batches(workload, vocab_size, seed=seed)
    batching = BatchingConfig(max_tokens=sum(batch.num_positions for batch in theirs) // len(theirs))
    examples = _news_examples(workload, vocab_size, batching.pool_batches * workload.batch_size, seed=seed)
    source_lengths = np.array([len(example.source) for example in examples], dtype=np.int32)
    target_lengths = np.array([len(example.target) for example in examples], dtype=np.int32)
    plan = plan_epoch(source_lengths, target_lengths, batching, seed=seed, epoch=0)
    return [
        _collated([examples[i] for i in planned.indices[rank::size]], planned.source_length, planned.target_length)
        for planned in plan[: workload.batches]
    ]


def _news_examples(workload: TrainingWorkload, vocab_size: int, count: int, *, seed: int) -> list[EncodedExample]:
    random = np.random.default_rng(seed)
    sources = news_lengths(random, _SOURCE_QUANTILES, count, workload.max_source_tokens)
    targets = news_lengths(random, _TARGET_QUANTILES, count, workload.max_target_tokens)
    return [
        EncodedExample(
            id=str(i), source=_sequence(random, source, vocab_size), target=_sequence(random, target, vocab_size)
        )
        for i, (source, target) in enumerate(zip(sources, targets, strict=True))
    ]


def _collated(
    examples: Sequence[EncodedExample], source_length: int | None = None, target_length: int | None = None
) -> Batch:
    return collate(examples, pad_id=PAD_ID, start_id=START_ID, source_length=source_length, target_length=target_length)


def random_sources(count: int, length: int, vocab_size: int, *, seed: int) -> torch.Tensor:
    """source_BS: documents of one length, none with padding."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([_sequence(random, length, vocab_size) for _ in range(count)]).astype(np.int64))


def news_lengths(
    random: np.random.Generator, quantiles: tuple[int, ...], count: int, most: int
) -> npt.NDArray[np.int64]:
    """``count`` lengths of this distribution, cut to ``most``."""
    drawn = np.interp(random.random(count), _SHARES, quantiles)
    return np.minimum(drawn.astype(np.int64), most)


def _sequence(random: np.random.Generator, length: int, vocab_size: int) -> npt.NDArray[np.int32]:
    """So many tokens, of which the end token is the last."""
    tokens = random.integers(_FIRST_ORDINARY_ID, vocab_size, size=length, dtype=np.int32)
    tokens[-1] = END_ID
    return tokens
