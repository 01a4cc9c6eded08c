"""The schema of scripts/evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from summarizer.config.decoding import DecodingOverrides
from summarizer.config.parts import validate_parts
from summarizer.errors import UserError
from summarizer.runtime import RuntimeConfig


@dataclass(kw_only=True)
class EvaluateConfig:
    """scripts/evaluate.py."""

    run: str = MISSING
    """Run folder of a training run."""

    checkpoint: str = "best"
    """Which checkpoint: best, last, or the number of a step."""

    split: str = "test"
    """Split to score: train, validation or test."""

    limit: int | None = None
    """Score only the first so many examples of the split."""

    data_path: str | None = None
    """Read the split from these files instead of where the run read it."""

    output: str | None = None
    """Folder for metrics.json and predictions.jsonl; by default one inside the run folder."""

    samples: int = 3
    """Summaries to print beside their references, spread evenly over the split."""

    resamples: int = 1000
    """Bootstrap resamples behind each 95% interval."""

    processes: int = 1
    """Processes that share the scoring."""

    seed: int = 0
    """Of the bootstrap."""

    decoding: DecodingOverrides = field(default_factory=DecodingOverrides)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        if self.split not in ("train", "validation", "test"):
            raise UserError(f"split ({self.split}) must be train, validation or test")
        for name in ("limit", "resamples", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} ({value}) must be at least 1")
        if self.samples < 0:
            raise UserError(f"samples ({self.samples}) must be at least 0")
