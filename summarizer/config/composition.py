"""What Hydra composed, as a checked object of the command's schema."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from summarizer.config.benchmark import BenchmarkConfig
from summarizer.config.compare_attention import CompareAttentionConfig
from summarizer.config.demo import DemoConfig
from summarizer.config.evaluate import EvaluateConfig
from summarizer.config.generate import GenerateConfig
from summarizer.config.inspect_run import InspectRunConfig
from summarizer.config.plan import PlanConfig
from summarizer.config.sweep import register_resolvers
from summarizer.config.train import TrainConfig
from summarizer.config.train_tokenizer import TrainTokenizerConfig
from summarizer.errors import UserError

T = TypeVar("T")


SCHEMAS = {
    "train": TrainConfig,
    "train_tokenizer": TrainTokenizerConfig,
    "evaluate": EvaluateConfig,
    "generate": GenerateConfig,
    "demo": DemoConfig,
    "inspect_run": InspectRunConfig,
    "compare_attention": CompareAttentionConfig,
    "benchmark": BenchmarkConfig,
    "plan": PlanConfig,
}


@cache
def register_schemas() -> None:
    """Let configs/<command>.yaml name its schema in its defaults list, and the resolvers of a sweep; once is enough."""
    register_resolvers()
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
