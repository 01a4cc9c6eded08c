"""What makes a run the run it is: the settings that a resumed one may not change."""

from __future__ import annotations

from summarizer.config.saved import flat_settings
from summarizer.config.train import TrainConfig

# What a resumed run may change without becoming another run, by the beginning of its name.
HARMLESS = (
    "run_dir",
    "training.log_every",
    "training.save_every",
    "training.save_in_background",
    "training.keep_last",
    "training.max_failed_saves",
    "training.max_steps",
    "validation.samples",
    "decoding.max_batch_tokens",  # memory and speed: what does not fit is changed to go on
    "runtime.",
    "data.cache_dir",
    "data.path",  # the same texts may lie elsewhere; their hashes are in the checkpoints
    "data.name",
    "data.licence",
)


def decisive_settings(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """The others, under their dotted names."""
    return {key: value for key, value in flat_settings(config).items() if not key.startswith(HARMLESS)}
