"""The schema of scripts/demo.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from summarizer.config.decoding import DecodingOverrides
from summarizer.config.parts import validate_parts
from summarizer.decoding.reading import LongDocument
from summarizer.errors import UserError
from summarizer.runtime import RuntimeConfig

_GREATEST_PORT = 65535


@dataclass(kw_only=True)
class DemoConfig:
    """scripts/demo.py."""

    run: str = MISSING
    """Run folder of a training run."""

    compare: str | None = None
    """Run folder of a second one, to see its summaries beside those of the first."""

    checkpoint: str = "best"
    """Which checkpoint: best, last, or the number of a step. A second run's is its best."""

    port: int = 8765
    """Port of the page on this machine; 0 takes one that is free."""

    browser: bool = True
    """Whether to open the page in a browser, where there is a screen and somebody at the terminal."""

    input: str | None = None
    """A text file that the page starts with."""

    long_document: LongDocument = LongDocument.truncate
    """What becomes of a text longer than the model reads, unless the page says otherwise: truncate summarizes its
    first tokens, lead its first whole sentences, split all of its parts, and then their summaries."""

    queue_size: int = 64
    """Summaries that may wait for the one that is computed; one more is refused."""

    time_limit: float = 60.0
    """Seconds after which a summary is given up."""

    decoding: DecodingOverrides = field(default_factory=DecodingOverrides)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        if not 0 <= self.port <= _GREATEST_PORT:
            raise UserError(f"port ({self.port}) must be at least 0 and at most {_GREATEST_PORT}; 0 takes a free one")
        if self.queue_size < 1:
            raise UserError(f"queue_size ({self.queue_size}) must be at least 1")
        if not self.time_limit > 0:
            raise UserError(f"time_limit ({self.time_limit}) must be more than 0 seconds")
