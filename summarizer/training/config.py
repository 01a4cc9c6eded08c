"""How long to train, and what to do on the way, as a config dataclass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from summarizer.errors import UserError

BEST_IS_LOWEST = {"loss", "perplexity"}
BEST_IS_HIGHEST = {"accuracy", "rouge1", "rouge2", "rougeL", "rougeLsum"}


@dataclass(kw_only=True)
class TrainingConfig:
    """How long to train, and what to do on the way."""

    max_steps: int = 10_000
    """Updates of the weights, warm-up included."""

    accumulate: int = 1
    """Batches whose gradients make one update."""

    clip_norm: float = 1.0
    """Longest gradient; longer ones are shortened to it (Pascanu et al. 2013)."""

    label_smoothing: float = 0.1
    """Share of the target distribution spread evenly over the vocabulary (Szegedy et al. 2016)."""

    coverage_weight: float = 0.0
    """Weight of the coverage loss, which keeps a pointer from copying one place twice; See et al. 2017 take 1."""

    coverage_start: int = 0
    """First update that has the coverage loss. See et al. 2017 add it at the end, when copying has been learned."""

    log_every: int = 20
    validate_every: int = 500
    save_every: int = 500
    """Steps between log lines, validations and checkpoints. All three also happen at the last step."""

    keep_last: int = 2
    """Newest checkpoints to keep, besides the best one."""

    save_in_background: bool = True
    """Whether training goes on while a checkpoint is written, from a copy in main memory (12 bytes a parameter)."""

    best_metric: str = "loss"
    """What picks the best checkpoint: loss, perplexity, accuracy, rouge1, rouge2, rougeL or rougeLsum."""

    patience: int | None = None
    """Stop after this many validations without a better ``best_metric``; null never stops early."""

    max_skipped_in_a_row: int = 10
    """Give up after this many updates in a row whose loss or gradient was not finite."""

    max_failed_saves: int = 3
    """Give up after this many checkpoints in a row that could not be written, for example to a full disk."""

    def validate(self) -> None:
        """Raise UserError for values out of range."""
        at_least_one = ("accumulate", "log_every", "validate_every", "save_every", "keep_last", "max_steps")
        for name in (*at_least_one, "max_skipped_in_a_row", "max_failed_saves"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} ({getattr(self, name)}) must be at least 1")
        if not self.clip_norm > 0:
            raise UserError(f"training.clip_norm ({self.clip_norm}) must be above 0: try training.clip_norm=1.0")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"training.label_smoothing ({self.label_smoothing}) must be at least 0 and below 1")
        if not 0 <= self.coverage_weight < math.inf:
            raise UserError(f"training.coverage_weight ({self.coverage_weight}) must be 0 or more, and finite")
        if self.coverage_start < 0:
            raise UserError(f"training.coverage_start ({self.coverage_start}) must be at least 0")
        if self.patience is not None and self.patience < 1:
            raise UserError(f"training.patience ({self.patience}) must be at least 1, or null for no early stopping")
        if self.best_metric not in BEST_IS_LOWEST | BEST_IS_HIGHEST:
            names = ", ".join(sorted(BEST_IS_LOWEST | BEST_IS_HIGHEST))
            raise UserError(f"training.best_metric ({self.best_metric}) must be one of {names}")
