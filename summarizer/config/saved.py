"""The config.yaml of a run folder: written, and read as what a stranger may have sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from summarizer.checkpoint.files import read_small
from summarizer.config.composition import to_object
from summarizer.config.train import TrainConfig
from summarizer.errors import UserError

_LARGEST_CONFIG = 1 << 16  # bytes; one that we write has about 3,000


def to_yaml(config: object) -> str:
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


def flat_settings(config: object) -> dict[str, Any]:
    """Every setting under its dotted name, null as the string "null": for tables, and to compare two runs."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = "null" if value is None else value

    walk("", yaml.safe_load(to_yaml(config)))
    return flat
