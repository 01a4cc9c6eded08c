"""A data set in, the lengths of its examples out: as they were encoded here before, else as somebody gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from summarizer.data.sampler import BatchingConfig, PlannedBatch, plan_epoch
from summarizer.errors import UserError
from summarizer.model.flops import Amounts

_MOST_PLANNED = 20_000  # examples that stand for all: enough for a mean


@dataclass(kw_only=True)
class DataSizeConfig:
    """How large the training split is, for data that has not been encoded on this machine.

    Examples are those of CNN/DailyMail; its lengths with 32,000 pieces are estimates, from 781 words of an article and
    56 of a summary (See et al. 2017).
    """

    examples: int = 287_113
    source_tokens: int = 490
    """Mean length of a document, cut to data.max_source_tokens and with its end symbol."""

    target_tokens: int = 74
    """Mean length of a summary, likewise."""

    def validate(self) -> None:
        """Raise UserError for the first value that no data can have."""
        for name, least in (("examples", 1), ("source_tokens", 2), ("target_tokens", 2)):
            if getattr(self, name) < least:
                raise UserError(f"data_size.{name} ({getattr(self, name)}) must be at least {least}")


@dataclass(frozen=True, eq=False)
class Lengths:
    """Of the examples of a training split, truncated, end tokens included."""

    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    examples: int  # of the split; the arrays may stand for more
    longest: tuple[int, int]  # source and target that a batch must have room for
    origin: str  # for people

    @classmethod
    def given(cls, size: DataSizeConfig, *, max_source: int, max_target: int) -> Lengths:
        """All of the mean length: how they vary is not known."""
        count = min(size.examples, _MOST_PLANNED)
        source, target = min(size.source_tokens, max_source), min(size.target_tokens, max_target)
        return cls(
            np.full(count, source, dtype=np.int32),
            np.full(count, target, dtype=np.int32),
            size.examples,
            (max_source, max_target),
            f"assumed to have {source} + {target} tokens each (data_size)",
        )

    @classmethod
    def known(cls, source: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> Lengths:
        """Of encoded data."""
        chosen = np.random.default_rng(0).permutation(len(source))[:_MOST_PLANNED]
        longest = int(source.max()), int(target.max())
        return cls(source[chosen], target[chosen], len(source), longest, "with the lengths they were encoded to here")

    def cut(self, max_source: int) -> Lengths:
        """The same with shorter documents."""
        source, (longest, longest_target) = np.minimum(self.source, max_source).astype(np.int32), self.longest
        return replace(self, source=source, longest=(min(longest, max_source), longest_target))

    def epoch(self, batching: BatchingConfig) -> Epoch:
        """As training plans it."""
        plan = plan_epoch(self.source, self.target, batching, seed=0, epoch=0)
        amounts = Amounts.of(torch.from_numpy(self.source).long(), torch.from_numpy(self.target).long())
        return Epoch(plan, amounts, share=len(self.source) / self.examples)


@dataclass(frozen=True)
class Epoch:
    """Batches that stand for those of an epoch."""

    batches: list[PlannedBatch]
    real: Amounts  # of all of them, padding left out
    share: float  # of the epoch that they are

    @property
    def num_batches(self) -> float:
        """Of the whole epoch."""
        return len(self.batches) / self.share

    @property
    def real_tokens(self) -> float:
        """Of a batch, the mean."""
        return (self.real.sources + self.real.targets) / len(self.batches)

    @property
    def positions(self) -> float:
        """Of a batch, the mean: real tokens and padding."""
        return sum(batch.num_positions for batch in self.batches) / len(self.batches)
