"""Settings of data: what cannot work is named, and every recipe in configs/data fits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.sources import open_split
from summarizer.errors import UserError

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "configs" / "data").glob("*.yaml"))


def break_limit(config: DataConfig) -> None:
    config.limit.validation = 0


@pytest.mark.parametrize(
    ("breakage", "named"),
    [
        (lambda config: setattr(config, "path", None), "data.hub_id and data.path"),
        (lambda config: setattr(config, "document_column", ""), "data.document_column"),
        (lambda config: setattr(config, "summary_column", "document"), "data.summary_column (document)"),
        (lambda config: setattr(config, "max_source_tokens", 0), "data.max_source_tokens (0)"),
        (lambda config: setattr(config, "max_target_tokens", -3), "data.max_target_tokens (-3)"),
        (lambda config: setattr(config, "test_split", ""), "data.test_split"),
        (lambda config: setattr(config, "cache_dir", ""), "data.cache_dir"),
        (break_limit, "data.limit.validation (0)"),
        (lambda config: setattr(config.batching, "max_tokens", 0), "data.batching.max_tokens (0)"),
    ],
)
def test_a_setting_that_cannot_work_is_named(breakage: Callable[[DataConfig], None], named: str) -> None:
    config = DataConfig(path="somewhere")
    config.validate()
    breakage(config)
    with pytest.raises(UserError) as error:
        config.validate()
    message = str(error.value)
    assert named in message
    assert "; " in message
    assert "\n" not in message


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_fits_the_schema_and_is_whole_or_says_what_to_give(recipe: Path) -> None:
    assert not recipe.read_text(encoding="utf-8").startswith("# @package")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(recipe)))
    assert isinstance(config, DataConfig)
    assert config.name == recipe.stem
    if recipe.stem not in ("hub", "local"):
        config.validate()
        return
    with pytest.raises(UserError, match=r"data\.path=<folder or file>"):
        config.validate()
    config.path = "somewhere"
    if recipe.stem == "hub":
        with pytest.raises(UserError, match=r"data\.document_column=<column>"):
            config.validate()


def test_the_bad_row_policy_can_be_written_in_lower_case() -> None:
    config = OmegaConf.structured(DataConfig)
    config.on_bad_row = "skip"
    assert config.on_bad_row is BadRowPolicy.skip


@pytest.mark.skipif("SUMMARIZER_DATA" not in os.environ, reason="set SUMMARIZER_DATA")
def test_the_recipe_of_the_hub_reads_real_articles_from_disk() -> None:
    recipe = OmegaConf.load(REPOSITORY / "configs" / "data" / "cnn_dailymail.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), recipe))
    assert isinstance(config, DataConfig)
    config.path = str(Path(os.environ["SUMMARIZER_DATA"]) / "cnn_dailymail")
    config.limit.test = 50
    examples = list(open_split(config, "test"))
    assert len({example.id for example in examples}) == 50
    assert all(len(example.document) > len(example.summary) > 0 for example in examples)
    assert any("\n" in example.summary for example in examples)
