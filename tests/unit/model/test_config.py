"""A model that cannot be is refused with the value and the way out, before anything is built."""

from typing import Any

import pytest

from summarizer.errors import UserError
from summarizer.model.config import TransformerConfig


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
    assert (config.feed_forward_size, config.key_size, config.value_size) == (96, 8, 8)
    config = TransformerConfig(width=24, num_heads=3, feed_forward_dim=5, key_dim=6, value_dim=7)
    assert (config.feed_forward_size, config.key_size, config.value_size) == (5, 6, 7)
