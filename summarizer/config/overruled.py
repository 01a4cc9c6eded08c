"""A composed config in; which options, chosen on the command line, an experiment has other values for, out.

Experiments come after the groups, so that a recipe may change what a group holds. Who names an option beside one, as in
``experiment=smoke decoding=greedy``, may not get what it stands for, and should know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

_EXPERIMENT = "experiment"


def overruled_choices(composed: DictConfig) -> list[str]:
    """A line for each option of which the experiment changes something that the command line does not name."""
    hydra = HydraConfig.get()
    # As they stand: a reference to nothing is for the schema to refuse.
    task: list[str] = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[assignment]
    choices, given = hydra.runtime.choices, [each.lstrip("+~").partition("=")[0] for each in task]
    recipe = f"{_EXPERIMENT}={choices.get(_EXPERIMENT)}"
    lines = []
    for group in dict.fromkeys(given):
        if group not in choices or group == _EXPERIMENT or _EXPERIMENT not in choices:
            continue
        changed = [
            f"{key}={value} (not {wanted})"
            for key, value, wanted in _changed(composed, group, str(choices[group]))
            if not any(key == name or key.startswith(f"{name}.") for name in given if name != group)
        ]
        if changed:
            lines.append(
                f"{recipe} comes after {group}={choices[group]} and sets {', '.join(changed)}: name the values you "
                f"want, or leave the recipe out with {_EXPERIMENT}=none"
            )
    return lines


def _changed(composed: DictConfig, group: str, option: str) -> Iterator[tuple[str, str, str]]:
    """Dotted name, value and the option's own value of all that is not as the option has it."""
    for source in HydraConfig.get().runtime.config_sources:
        file = Path(source.path, group, f"{option}.yaml")
        if source.schema == "file" and file.is_file():
            now = composed[group]
            wanted = OmegaConf.merge(now, OmegaConf.load(file))
            yield from _differences(group, *(OmegaConf.to_container(each, resolve=False) for each in (now, wanted)))
            return


def _differences(prefix: str, now: Any, wanted: Any) -> Iterator[tuple[str, str, str]]:
    for name in wanted:
        key = f"{prefix}.{name}"
        if isinstance(wanted[name], dict) and isinstance(now[name], dict):
            yield from _differences(key, now[name], wanted[name])
        elif now[name] != wanted[name]:
            yield key, _shown(now[name]), _shown(wanted[name])


def _shown(value: object) -> str:
    return "null" if value is None else str(getattr(value, "name", value))
