"""The schema of scripts/compare_attention.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from summarizer.comparison.cost import CostConfig
from summarizer.comparison.mechanisms import parse_mechanism
from summarizer.comparison.reach import RecallConfig
from summarizer.config.parts import validate_parts
from summarizer.errors import UserError
from summarizer.runtime import RuntimeConfig


@dataclass(kw_only=True)
class CompareAttentionConfig:
    """scripts/compare_attention.py."""

    output: str = "outputs/compare_attention"
    """Folder for tables, plots and results.json."""

    mechanisms: list[str] = field(default_factory=lambda: ["scaled_dot+alibi", "convolution", "lstm"])
    """What to compare: ``<score>+<positions>``, ``convolution`` or ``lstm``. The first is the measure of the others."""

    width: int = 64
    """Size of the vectors between layers."""

    num_heads: int = 4
    """Heads of every attention."""

    seed: int = 1
    """Decides weights and sequences."""

    cost: CostConfig = field(default_factory=CostConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        if not self.mechanisms:
            raise UserError("mechanisms ([]) must name one: try mechanisms=[scaled_dot+alibi,lstm]")
        for name in self.mechanisms:
            parse_mechanism(name)
            if self.mechanisms.count(name) > 1:
                raise UserError(f"mechanisms ({name}) must be named once each: leave the second one out")
        if self.num_heads < 1:
            raise UserError(f"num_heads ({self.num_heads}) must be at least 1")
        if self.width < 2 or self.width % (2 * self.num_heads):
            nearest = max(1, round(self.width / (2 * self.num_heads))) * 2 * self.num_heads
            raise UserError(
                f"width ({self.width}) must be divisible by twice num_heads ({self.num_heads}), "
                f"for rotary positions turn pairs: try width={nearest}"
            )
