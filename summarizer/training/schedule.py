"""Learning-rate schedules: pure functions from a step to a factor between 0 and 1."""

import math
from dataclasses import dataclass
from enum import Enum

from summarizer.errors import UserError


class ScheduleKind(Enum):
    """How the learning rate falls after the warm-up. Lower-case, for these are the words to type."""

    inverse_sqrt = "inverse_sqrt"
    cosine = "cosine"
    linear = "linear"
    constant = "constant"


@dataclass(kw_only=True)
class ScheduleConfig:
    """A linear rise over the warm-up, then a fall."""

    kind: ScheduleKind = ScheduleKind.inverse_sqrt

    warmup_steps: int = 1000
    """Steps over which the learning rate rises from near zero to ``optimizer.lr``."""

    final_factor: float = 0.0
    """Where cosine and linear end at the last step, as a share of ``optimizer.lr``."""

    def validate(self) -> None:
        """Raise UserError for values out of range."""
        if self.warmup_steps < 0:
            raise UserError(f"schedule.warmup_steps ({self.warmup_steps}) must be at least 0")
        if not 0 <= self.final_factor <= 1:
            raise UserError(f"schedule.final_factor ({self.final_factor}) must be between 0 and 1")


def learning_rate_factor(step: int, config: ScheduleConfig, *, max_steps: int) -> float:
    """What to multiply ``optimizer.lr`` with at update ``step``, the first being 1 and the last ``max_steps``."""
    if step < config.warmup_steps:
        return step / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, max_steps - config.warmup_steps))
    match config.kind:
        case ScheduleKind.inverse_sqrt:
            return math.sqrt(max(1, config.warmup_steps) / max(1, step))
        case ScheduleKind.cosine:
            fall = (1 + math.cos(math.pi * progress)) / 2
        case ScheduleKind.linear:
            fall = 1 - progress
        case ScheduleKind.constant:
            return 1.0
    return config.final_factor + (1 - config.final_factor) * fall
