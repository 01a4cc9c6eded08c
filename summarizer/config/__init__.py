"""The commands' config schemas: Hydra composes, these check, and plain typed objects come out.

The only unit that knows Hydra and OmegaConf, but for commands/entry.py. A new command gets a file of its own and a line
in SCHEMAS.
"""

from summarizer.config.benchmark import BenchmarkConfig, Work
from summarizer.config.compare_attention import CompareAttentionConfig
from summarizer.config.composition import SCHEMAS, register_schemas, to_object
from summarizer.config.decoding import DecodingOverrides, require_fitting_search, with_overrides
from summarizer.config.demo import DemoConfig
from summarizer.config.evaluate import EvaluateConfig
from summarizer.config.generate import GenerateConfig
from summarizer.config.identity import HARMLESS, decisive_settings
from summarizer.config.inspect_run import InspectRunConfig
from summarizer.config.overruled import overruled_choices
from summarizer.config.plan import PlanConfig
from summarizer.config.saved import flat_settings, from_yaml, to_yaml
from summarizer.config.train import TrainConfig
from summarizer.config.train_tokenizer import TrainTokenizerConfig

__all__ = [
    "HARMLESS",
    "SCHEMAS",
    "BenchmarkConfig",
    "CompareAttentionConfig",
    "DecodingOverrides",
    "DemoConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "InspectRunConfig",
    "PlanConfig",
    "TrainConfig",
    "TrainTokenizerConfig",
    "Work",
    "decisive_settings",
    "flat_settings",
    "from_yaml",
    "overruled_choices",
    "register_schemas",
    "require_fitting_search",
    "to_object",
    "to_yaml",
    "with_overrides",
]
