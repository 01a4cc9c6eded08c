"""A model that cannot be is refused with the value and the way out, before anything is built."""

from typing import Any

import pytest

from summarizer.errors import UserError
from summarizer.model.config import AttentionConfig, AttentionShape, AttentionSites, PointerConfig, TransformerConfig

SITES = ("encoder_self", "decoder_self", "cross")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "model.width (0) must be at least 1"),
        ({"num_heads": -2}, "model.num_heads (-2) must be at least 1"),
        ({"encoder_layers": 0}, "model.encoder_layers (0) must be at least 1"),
        ({"decoder_layers": 0}, "model.decoder_layers (0) must be at least 1"),
        (
            {"width": 15, "num_heads": 3},
            "model.width (15) must be even: sines fill one half, cosines the other",
        ),
        (
            {"width": 250, "num_heads": 8},
            "model.width (250) must be divisible by model.num_heads (8): "
            "try model.width=248, or set model.key_dim and model.value_dim",
        ),
        ({"feed_forward_dim": 0}, "model.feed_forward_dim (0) must be at least 1"),
        ({"key_dim": 0}, "model.key_dim (0) must be at least 1"),
        ({"value_dim": -3}, "model.value_dim (-3) must be at least 1"),
        ({"pointer": PointerConfig(key_dim=0)}, "model.pointer.key_dim (0) must be at least 1"),
        ({"dropout": 1.0}, "model.dropout (1.0) must be at least 0 and below 1"),
        ({"dropout": float("nan")}, "model.dropout (nan) must be at least 0 and below 1"),
        ({"attention_dropout": -0.1}, "model.attention_dropout (-0.1) must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_refused_with_value_and_way_out_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        TransformerConfig(**changes).validate()
    assert str(refusal.value) == message


@pytest.mark.parametrize("num_heads", [3, 6, 7, 12, 300])
def test_the_proposed_width_is_accepted(num_heads: int) -> None:
    with pytest.raises(UserError) as refusal:
        TransformerConfig(width=250, num_heads=num_heads).validate()
    proposal = str(refusal.value).split("try model.width=")[1].split(",")[0]
    TransformerConfig(width=int(proposal), num_heads=num_heads).validate()


@pytest.mark.parametrize(
    "changes", [{}, {"width": 250, "num_heads": 8, "key_dim": 3, "value_dim": 5}, {"dropout": 0.0}], ids=str
)
def test_a_model_that_can_be_is_accepted(changes: dict[str, Any]) -> None:
    TransformerConfig(**changes).validate()


def test_sizes_left_open_follow_from_the_width() -> None:
    config = TransformerConfig(width=24, num_heads=3)
    assert config.feed_forward_size == 96
    assert config.pointer_key_dim == 24
    assert config.attention_shape(AttentionConfig()) == AttentionShape(num_heads=3, kv_heads=3, key_dim=8, value_dim=8)
    assert config.attention_shape(AttentionConfig(num_heads=2)) == AttentionShape(
        num_heads=2, kv_heads=2, key_dim=12, value_dim=12
    )


def test_sizes_of_a_site_go_before_those_of_the_model() -> None:
    config = TransformerConfig(
        width=24, num_heads=3, feed_forward_dim=5, key_dim=6, value_dim=7, pointer=PointerConfig(key_dim=9)
    )
    assert config.feed_forward_size == 5
    assert config.pointer_key_dim == 9
    assert config.attention_shape(AttentionConfig()) == AttentionShape(num_heads=3, kv_heads=3, key_dim=6, value_dim=7)
    assert config.attention_shape(AttentionConfig(num_heads=5, value_dim=2)) == AttentionShape(
        num_heads=5, kv_heads=5, key_dim=6, value_dim=2
    )
    assert config.attention_shape(AttentionConfig(key_dim=1)) == AttentionShape(
        num_heads=3, kv_heads=3, key_dim=1, value_dim=7
    )


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    ("changes", "chosen", "message"),
    [
        ({}, {"num_heads": 0}, "model.attention.SITE.num_heads (0) must be at least 1"),
        (
            {"width": 250, "num_heads": 5},
            {"num_heads": 8},
            "model.width (250) must be divisible by model.attention.SITE.num_heads (8): "
            "try model.width=248, or set model.key_dim and model.value_dim",
        ),
        (
            {"width": 250, "num_heads": 5},
            {"num_heads": 8, "key_dim": 4},
            "model.width (250) must be divisible by model.attention.SITE.num_heads (8): "
            "try model.width=248, or set model.key_dim and model.value_dim",
        ),
        ({}, {"key_dim": -1}, "model.attention.SITE.key_dim (-1) must be at least 1"),
        ({}, {"value_dim": 0}, "model.attention.SITE.value_dim (0) must be at least 1"),
        ({"key_dim": 5}, {"key_dim": 0}, "model.attention.SITE.key_dim (0) must be at least 1"),
        (
            {"num_heads": 4},
            {"kv_heads": 3},
            "model.attention.SITE.kv_heads (3) must divide model.num_heads (4): try model.attention.SITE.kv_heads=2",
        ),
        (
            {},
            {"num_heads": 8, "kv_heads": 0},
            "model.attention.SITE.kv_heads (0) must divide model.attention.SITE.num_heads (8): "
            "try model.attention.SITE.kv_heads=1",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_at_one_site_is_refused_with_its_name(
    site: str, changes: dict[str, Any], chosen: dict[str, int], message: str
) -> None:
    config = TransformerConfig(**changes, attention=AttentionSites(**{site: AttentionConfig(**chosen)}))
    with pytest.raises(UserError) as refusal:
        config.validate()
    assert str(refusal.value) == message.replace("SITE", site)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("chosen", [{"num_heads": 1}, {"num_heads": 7, "key_dim": 3, "value_dim": 5}], ids=str)
def test_heads_of_a_site_that_can_be_are_accepted(site: str, chosen: dict[str, int]) -> None:
    TransformerConfig(attention=AttentionSites(**{site: AttentionConfig(**chosen)})).validate()


def test_a_number_of_heads_that_no_site_uses_harms_nobody() -> None:
    sites = AttentionSites(**{site: AttentionConfig(num_heads=4) for site in SITES})
    TransformerConfig(width=256, num_heads=7, attention=sites).validate()
