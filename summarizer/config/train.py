"""The schema of scripts/train.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from summarizer.config.decoding import require_fitting_search
from summarizer.config.parts import validate_parts
from summarizer.data.config import DataConfig
from summarizer.decoding.config import DecodingConfig
from summarizer.errors import UserError
from summarizer.evaluation.validation import ValidationConfig
from summarizer.model.config import TransformerConfig
from summarizer.runtime import Precision, RuntimeConfig
from summarizer.tokenizer import TokenizerConfig
from summarizer.training.config import TrainingConfig
from summarizer.training.optimizer import OptimizerConfig
from summarizer.training.schedule import ScheduleConfig


@dataclass(kw_only=True)
class TrainConfig:
    """scripts/train.py, and the config.yaml of every run folder."""

    run_dir: str | None = None
    """Where the run is written; the same folder again resumes it. By default a new folder under outputs/."""

    seed: int = 1
    """Decides initial weights, order of the data, dropout, and bootstrap intervals."""

    model: TransformerConfig = field(default_factory=TransformerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        if self.run_dir == "":
            raise UserError("run_dir () must name a folder: try run_dir=outputs/mine, or leave it out")
        if self.runtime.precision is Precision.int8:
            raise UserError("runtime.precision (int8) is for evaluate.py and generate.py: train in auto, bf16 or fp32")
        if self.training.best_metric.startswith("rouge") and not self.validation.rouge_examples:
            raise UserError(
                f"training.best_metric ({self.training.best_metric}) must be measured, and "
                "validation.rouge_examples (0) leaves it out: raise that, or set training.best_metric=loss"
            )
        if self.training.coverage_weight and not self.model.pointer.enabled:
            raise UserError(
                f"training.coverage_weight ({self.training.coverage_weight}) is about what a pointer copies, and the "
                "model has none: set model.pointer.enabled=true, or leave it at 0"
            )
        require_fitting_search(self.decoding, self.model)
        for key in ("max_source_tokens", "max_target_tokens"):
            padded = -(-getattr(self.data, key) // self.data.batching.length_step) * self.data.batching.length_step
            self.model.require_positions(padded, f"data.{key} ({getattr(self.data, key)}), padded,")
        if self.data.max_source_tokens + self.data.max_target_tokens > self.data.batching.max_tokens:
            raise UserError(
                f"data.batching.max_tokens ({self.data.batching.max_tokens}) must hold at least one example of "
                f"data.max_source_tokens + data.max_target_tokens "
                f"({self.data.max_source_tokens + self.data.max_target_tokens}) positions"
            )
