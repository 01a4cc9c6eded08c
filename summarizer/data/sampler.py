"""Example lengths in, the order of an epoch out: batches of similar lengths under a token budget.

Everything here is a pure function of its arguments, so a position in training is just (epoch, batch index).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from summarizer.errors import UserError

Lengths = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class BatchingConfig:
    """How examples are grouped into batches."""

    max_tokens: int = 16384
    """Source and target positions of one batch, padding included. A longer example is a batch of its own."""

    max_examples: int | None = None
    """Most examples in one batch; no limit if null."""

    length_step: int = 8
    """Padded lengths are multiples of this: few distinct shapes, at the price of a little more padding."""

    pool_batches: int = 256
    """Examples are sorted by length among about this many batches: more means less padding, less mixing."""

    def validate(self) -> None:
        """Raise UserError for a value out of range."""
        for field in ("max_tokens", "length_step", "pool_batches"):
            _require_positive(field, getattr(self, field), "set a larger number")
        if self.max_examples is not None:
            _require_positive("max_examples", self.max_examples, "set a larger number, or null for no limit")


@dataclass(frozen=True, eq=False)
class PlannedBatch:
    """Which examples form a batch, and the lengths to pad them to."""

    indices: Indices  # (B,) rows of the dataset
    source_length: int
    target_length: int
    has_targets: bool = True  # else nothing is learned from it

    @property
    def num_positions(self) -> int:
        """Real tokens and padding together."""
        return len(self.indices) * (self.source_length + self.target_length)


def plan_epoch(
    source_lengths: Lengths, target_lengths: Lengths, config: BatchingConfig, *, seed: int, epoch: int
) -> list[PlannedBatch]:
    """Batches of one epoch, in the order to train on them; every index appears exactly once.

    Shuffled examples are sorted by length within pools and cut under the budget, then batches are shuffled:
    neither the examples of a batch nor the order of the batches is fixed, and lengths show no trend.
    """
    random = np.random.default_rng([seed, epoch])
    grid_source, grid_target = _on_grid(source_lengths, config), _on_grid(target_lengths, config)
    shuffled: Indices = random.permutation(len(grid_source)).astype(np.int64, copy=False)
    pool_size = _pool_size(grid_source, grid_target, config)
    batches: list[PlannedBatch] = []
    for start in range(0, len(shuffled), pool_size):
        pool = shuffled[start : start + pool_size]
        batches += _cut(_by_length(pool, grid_source, grid_target), grid_source, grid_target, config)
    return [batches[i] for i in random.permutation(len(batches))]


def plan_in_length_order(
    source_lengths: Lengths, target_lengths: Lengths, config: BatchingConfig
) -> list[PlannedBatch]:
    """Batches of all examples, longest first (what does not fit into memory shows at once); no randomness."""
    grid_source, grid_target = _on_grid(source_lengths, config), _on_grid(target_lengths, config)
    everything = np.arange(len(grid_source), dtype=np.int64)
    return _cut(_by_length(everything, grid_source, grid_target)[::-1], grid_source, grid_target, config)


def _on_grid(lengths: Lengths, config: BatchingConfig) -> Indices:
    """Lengths rounded up to the next multiple of the step."""
    rounded: Indices = -(-lengths.astype(np.int64) // config.length_step) * config.length_step
    return rounded


def _pool_size(grid_source: Indices, grid_target: Indices, config: BatchingConfig) -> int:
    """Examples in a pool of about ``pool_batches`` batches."""
    if len(grid_source) == 0:
        return 1
    per_batch = config.max_tokens / max(1.0, float(np.mean(grid_source + grid_target)))
    if config.max_examples is not None:
        per_batch = min(per_batch, config.max_examples)
    return max(1, int(config.pool_batches * max(1.0, per_batch)))


def _by_length(indices: Indices, grid_source: Indices, grid_target: Indices) -> Indices:
    """``indices`` by source length, then by target length; the latter up and down in turn.

    A batch often spans two neighbouring source lengths. Reversing the direction at each keeps targets on both
    sides of the border alike.
    """
    source, target = grid_source[indices], grid_target[indices]
    _, rank = np.unique(source, return_inverse=True)
    sign = np.where(rank % 2 == 0, 1, -1)
    return indices[np.lexsort((sign * target, source))]


def _cut(ordered: Indices, grid_source: Indices, grid_target: Indices, config: BatchingConfig) -> list[PlannedBatch]:
    """Consecutive runs of ``ordered``, each as long as the budget allows."""
    sources, targets = grid_source[ordered].tolist(), grid_target[ordered].tolist()
    max_examples = config.max_examples or len(sources)
    batches: list[PlannedBatch] = []
    start = width_source = width_target = 0
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        wider_source, wider_target = max(width_source, source), max(width_target, target)
        count = i - start + 1
        if count > 1 and (count > max_examples or count * (wider_source + wider_target) > config.max_tokens):
            batches.append(PlannedBatch(ordered[start:i], width_source, width_target))
            start, wider_source, wider_target = i, source, target
        width_source, width_target = wider_source, wider_target
    if start < len(sources):
        batches.append(PlannedBatch(ordered[start:], width_source, width_target))
    return batches


def _require_positive(field: str, value: int, way_out: str) -> None:
    if value < 1:
        raise UserError(f"data.batching.{field} ({value}) must be at least 1; {way_out}")
