"""Who names an option of a group beside a recipe that changes what it holds is told so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from summarizer.config import overruled_choices, register_schemas

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture(autouse=True)
def unchanged_hydra() -> Iterator[None]:
    saved = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = saved


def told(command: str, *arguments: str) -> list[str]:
    register_schemas()
    with initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        composed = compose(command, overrides=list(arguments), return_hydra_config=True)
    HydraConfig.instance().set_config(composed)
    return overruled_choices(composed)


def test_a_value_of_the_recipe_is_told_beside_that_of_the_option() -> None:
    (line,) = told("train", "experiment=smoke", "decoding=greedy")
    assert "experiment=smoke comes after decoding=greedy and sets decoding.beam_size=2 (not 1)" in line


def test_the_default_recipe_is_one_too_and_nested_values_are_found() -> None:
    (line,) = told("train", "data=local", "data.path=mine")
    assert "experiment=sample comes after data=local and sets data.batching.max_tokens=3072 (not 16384)" in line
    assert "experiment=none" in line


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["model=small"]),  # of which the recipe changes nothing
        ("train", ["experiment=smoke", "decoding=greedy", "decoding.beam_size=1"]),
        ("train", ["experiment=none", "data=local", "decoding=greedy", "model=tiny"]),
        ("train", ["seed=${nope}", "model.width=${nope}", "model=small"]),  # which the schema refuses
        ("evaluate", ["run=mine", "decoding=greedy"]),
    ],
)
def test_nobody_is_told_of_what_is_as_the_command_says(command: str, arguments: list[str]) -> None:
    assert told(command, *arguments) == []
