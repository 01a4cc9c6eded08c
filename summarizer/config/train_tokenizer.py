"""The schema of scripts/train_tokenizer.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from summarizer.config.parts import validate_parts
from summarizer.data.config import DataConfig
from summarizer.tokenizer import TokenizerConfig


@dataclass(kw_only=True)
class TrainTokenizerConfig:
    """scripts/train_tokenizer.py."""

    output: str = MISSING
    """File to write the tokenizer to."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
