"""The commands' config schemas: Hydra composes, these check, and plain typed objects come out.

The only file of the package that knows Hydra and OmegaConf.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from summarizer.checkpoint.files import read_small
from summarizer.comparison.cost import CostConfig
from summarizer.comparison.mechanisms import parse_mechanism
from summarizer.comparison.reach import RecallConfig
from summarizer.data.config import DataConfig
from summarizer.decoding.search import DecodingConfig
from summarizer.errors import UserError
from summarizer.evaluation.validation import ValidationConfig
from summarizer.model.config import TransformerConfig
from summarizer.runtime import RuntimeConfig
from summarizer.tokenizer import TokenizerConfig
from summarizer.training.config import TrainingConfig
from summarizer.training.optimizer import OptimizerConfig
from summarizer.training.schedule import ScheduleConfig

T = TypeVar("T")

_LARGEST_CONFIG = 1 << 16  # bytes; one that we write has about 3,000

# Each decoding setting, or null for what the run was trained with.
if TYPE_CHECKING:
    DecodingOverrides = DecodingConfig
else:
    _hints = get_type_hints(DecodingConfig)
    DecodingOverrides = make_dataclass(
        "DecodingOverrides",
        [(each.name, _hints[each.name] | None, field(default=None)) for each in fields(DecodingConfig)],
        kw_only=True,
    )


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
        _validate_parts(self)
        if self.run_dir == "":
            raise UserError("run_dir () must name a folder: try run_dir=outputs/mine, or leave it out")
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


@dataclass(kw_only=True)
class TrainTokenizerConfig:
    """scripts/train_tokenizer.py."""

    output: str = MISSING
    """File to write the tokenizer to."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        _validate_parts(self)


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
        _validate_parts(self)
        if self.split not in ("train", "validation", "test"):
            raise UserError(f"split ({self.split}) must be train, validation or test")
        for name in ("limit", "resamples", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} ({value}) must be at least 1")
        if self.samples < 0:
            raise UserError(f"samples ({self.samples}) must be at least 0")


@dataclass(kw_only=True)
class GenerateConfig:
    """scripts/generate.py."""

    run: str = MISSING
    """Run folder of a training run."""

    checkpoint: str = "best"
    """Which checkpoint: best, last, or the number of a step."""

    text: str | None = None
    """One text to summarize."""

    input: str | None = None
    """File to summarize: one text (.txt), or one JSON object a line with the text in ``column`` (.jsonl)."""

    column: str = "document"
    """Key of the text in a .jsonl input."""

    output: str | None = None
    """File for the summaries; by default standard output."""

    attention: str | None = None
    """File that shows where the model looked: .html for a page to explore, .png for one picture."""

    decoding: DecodingOverrides = field(default_factory=DecodingOverrides)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        _validate_parts(self)
        if self.text is not None and self.input is not None:
            raise UserError(f"text and input ({self.input}) are both given and only one can be: leave one out")
        if self.attention is not None and Path(self.attention).suffix not in (".html", ".png"):
            raise UserError(f"attention ({self.attention}) must be a file that ends in .html or .png")
        if self.attention is not None and self.attention == self.output:
            raise UserError(f"attention and output are one file ({self.output}) and must be two: rename one")


@dataclass(kw_only=True)
class InspectRunConfig:
    """scripts/inspect_run.py."""

    run: str = MISSING
    """Run folder of a training run, finished, running or damaged."""

    json: bool = False
    """Print one JSON object, for programs, instead of text."""

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        if self.run == "":
            raise UserError("run () must name a folder: try run=outputs/mine")


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
        _validate_parts(self)
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


SCHEMAS = {
    "train": TrainConfig,
    "train_tokenizer": TrainTokenizerConfig,
    "evaluate": EvaluateConfig,
    "generate": GenerateConfig,
    "inspect_run": InspectRunConfig,
    "compare_attention": CompareAttentionConfig,
}


def register_schemas() -> None:
    """Let configs/<command>.yaml name its schema in its defaults list."""
    for command, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=schema)


def to_object(composed: DictConfig, schema: type[T]) -> T:
    """What Hydra composed, as a checked object of ``schema``. Raises UserError for anything it cannot be."""
    try:
        plain = OmegaConf.to_container(composed)
        # Merging once more refuses keys that "+key=value" added.
        config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or "a value"
        raise UserError(f"{key} is missing: add {key}=... to the command") from error
    config.validate()
    assert isinstance(config, schema)
    return config


def with_overrides(config: DecodingConfig, overrides: DecodingOverrides) -> DecodingConfig:
    """``config`` with each setting of ``overrides`` that is not null."""
    chosen = {each.name: getattr(overrides, each.name) for each in fields(DecodingConfig)}
    own = {each.name: getattr(config, each.name) for each in fields(DecodingConfig)}
    merged = DecodingConfig(**{name: own[name] if value is None else value for name, value in chosen.items()})
    merged.validate()
    return merged


def require_fitting_search(decoding: DecodingConfig, model: TransformerConfig) -> None:
    """Raise UserError if a model of this kind cannot be searched so."""
    model.require_positions(decoding.max_tokens, f"decoding.max_tokens ({decoding.max_tokens})")
    if decoding.coverage_penalty and not model.pointer.enabled:
        raise UserError(
            f"decoding.coverage_penalty ({decoding.coverage_penalty}) is about what a pointer copies, and the model "
            "has none: leave it at 0, or train one with model.pointer.enabled=true"
        )


def flat_settings(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """Every setting under its dotted name, null as the string "null": for tables, and to compare two runs."""
    flat: dict[str, str | int | float | bool] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = "null" if value is None else value

    walk("", yaml.safe_load(to_yaml(config)))
    return flat


def to_yaml(config: TrainConfig) -> str:
    """For the config.yaml of a run folder."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(path: Path) -> TrainConfig:
    """The config.yaml of a run folder. The file may come from a stranger: it is data, and nothing in it is run.

    Raises UserError if it is not what :func:`to_yaml` writes.
    """
    try:
        text = read_small(path, _LARGEST_CONFIG).decode("utf-8")
        if "${" in text:
            raise UserError("it holds an interpolation (${...}), which a saved config never does")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise UserError("it holds a YAML alias (*...), which a saved config never does")
        plain = yaml.safe_load(text)
        return to_object(DictConfig(plain), TrainConfig)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise UserError(f"{path} cannot be read as the config of a run: {reason}") from error


def _validate_parts(config: object) -> None:
    for each in fields(config):  # type: ignore[arg-type]
        part = getattr(config, each.name)
        if is_dataclass(part) and hasattr(part, "validate"):
            part.validate()
