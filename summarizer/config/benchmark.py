"""The schema of scripts/benchmark.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from summarizer.benchmark.decoding import DecodingWorkload
from summarizer.benchmark.workload import TrainingWorkload
from summarizer.config.parts import validate_parts
from summarizer.data.config import DataConfig
from summarizer.errors import UserError
from summarizer.model.config import TransformerConfig
from summarizer.runtime import Precision, RuntimeConfig
from summarizer.tokenizer import TokenizerConfig


class Work(Enum):
    """What is timed."""

    train = "train"  # updates of a model
    decode = "decode"  # beam search with a model
    rouge = "rouge"  # scoring the first sentences of the test split
    data = "data"  # encoding the training split
    scaling = "scaling"  # the same updates by one process and by several


@dataclass(kw_only=True)
class BenchmarkConfig:
    """scripts/benchmark.py."""

    what: Work = Work.train
    """The work to time: train, decode, rouge, data or scaling."""

    peers: bool = True
    """Time the same work as other libraries do it, those that are installed."""

    repeats: int = 5
    """Rounds that count, after one to warm up. In each, everybody works in turn."""

    output: str | None = None
    """File for all timings, as JSON; by default one under outputs/benchmark/."""

    seed: int = 1
    """Decides weights, tokens and lengths."""

    vocab_size: int = 32000

    model: TransformerConfig = field(default_factory=TransformerConfig)
    train: TrainingWorkload = field(default_factory=TrainingWorkload)
    decode: DecodingWorkload = field(default_factory=DecodingWorkload)
    data: DataConfig = field(default_factory=DataConfig)
    """Texts to score or to encode; the lengths of training are those of ``train``."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """For what=data; trained on the training split unless it has a path."""
    processes: int = 2
    """That score, or the most that train together."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        for name in ("repeats", "processes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} ({getattr(self, name)}) must be at least 1")
        if not 8 <= self.vocab_size <= 1 << 20:
            raise UserError(f"vocab_size ({self.vocab_size}) must be at least 8 and at most {1 << 20:,}")
        if self.what is Work.scaling and not 2 <= self.processes <= self.train.batch_size:
            raise UserError(
                f"processes ({self.processes}) must be at least 2 and at most train.batch_size "
                f"({self.train.batch_size}), whose rows they share"
            )
        longest = max(
            self.train.max_source_tokens,
            self.train.max_target_tokens,
            self.decode.source_tokens,
            self.decode.new_tokens + 1,
        )
        if self.what is not Work.decode and self.runtime.precision is Precision.int8:
            raise UserError("runtime.precision (int8) is for what=decode: use auto, bf16 or fp32")
        self.model.require_positions(longest, f"the longest sequence ({longest})")
