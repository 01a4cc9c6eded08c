"""What no variant can be is refused in one line, whose proposal is the nearest value that is accepted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from summarizer.errors import UserError
from summarizer.model.config import (
    AttentionConfig,
    AttentionSites,
    FeedForwardKind,
    PointerConfig,
    PositionKind,
    TransformerConfig,
)
from summarizer.model.transformer import Transformer

SITES = ("encoder_self", "decoder_self", "cross")


def at(sites: tuple[str, ...], **sizes: int) -> AttentionSites:
    return AttentionSites(**{site: AttentionConfig(**sizes) for site in sites})


def refusal(config: TransformerConfig) -> str:
    with pytest.raises(UserError) as refused:
        config.validate()
    message = str(refused.value)
    assert "\n" not in message
    return message


def accept_proposal(config: TransformerConfig, message: str) -> int:
    """Set what ``message`` says to try, and return it."""
    proposal = re.search(r"try model\.([\w.]+)=(\d+)", message)
    assert proposal, message
    *path, field = proposal[1].split(".")
    part: Any = config
    for name in path:
        part = getattr(part, name)
    setattr(part, field, int(proposal[2]))
    return int(proposal[2])


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    ("num_heads", "kv_heads", "nearest"),
    [
        (8, 3, {2, 4}),
        (8, 7, {8}),
        (8, 9, {8}),
        (8, 100, {8}),
        (6, 4, {3}),
        (6, 5, {6}),
        (12, 10, {12}),
        (8, 0, {1}),
        (8, -5, {1}),
    ],
)
def test_kv_heads_that_do_not_divide_the_heads(site: str, num_heads: int, kv_heads: int, nearest: set[int]) -> None:
    config = TransformerConfig(width=48, num_heads=num_heads, attention=at((site,), kv_heads=kv_heads))
    message = refusal(config)
    assert message.startswith(
        f"model.attention.{site}.kv_heads ({kv_heads}) must divide model.num_heads ({num_heads}): "
        f"try model.attention.{site}.kv_heads="
    )
    assert accept_proposal(config, message) in nearest
    config.validate()


@pytest.mark.parametrize("site", SITES)
def test_kv_heads_are_held_against_the_heads_of_their_own_site(site: str) -> None:
    config = TransformerConfig(width=48, num_heads=4, attention=at((site,), num_heads=6, kv_heads=4))
    assert f"must divide model.attention.{site}.num_heads (6)" in refusal(config)
    TransformerConfig(width=48, num_heads=4, attention=at((site,), num_heads=6, kv_heads=3)).validate()
    TransformerConfig(width=48, num_heads=6, attention=at((site,), num_heads=4, kv_heads=4)).validate()


@pytest.mark.parametrize("site", ["encoder_self", "decoder_self"])
@pytest.mark.parametrize("key_dim", [1, 7, 33])
def test_odd_keys_cannot_be_rotated(site: str, key_dim: int) -> None:
    config = TransformerConfig(positions=PositionKind.rotary, attention=at((site,), key_dim=key_dim))
    message = refusal(config)
    assert message == (
        f"rotary positions turn pairs, so the key size of {site} ({key_dim}) must be even: "
        f"try model.attention.{site}.key_dim={key_dim + 1}"
    )
    accept_proposal(config, message)
    config.validate()


@pytest.mark.parametrize("sizes", [{"key_dim": 5}, {"width": 20, "num_heads": 4}], ids=str)
def test_odd_keys_of_the_whole_model_end_even_one_proposal_after_the_other(sizes: dict[str, int]) -> None:
    config = TransformerConfig(positions=PositionKind.rotary, **sizes)
    for _ in ("encoder_self", "decoder_self"):
        accept_proposal(config, refusal(config))
    config.validate()


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_odd_keys_harm_nobody_but_rotation(kind: PositionKind) -> None:
    TransformerConfig(positions=kind, attention=at(("cross",), key_dim=7)).validate()
    if kind is not PositionKind.rotary:
        TransformerConfig(positions=kind, key_dim=7).validate()


@pytest.mark.parametrize("max_positions", [0, -1])
@pytest.mark.parametrize("kind", [PositionKind.learned, PositionKind.learned_per_layer], ids=lambda kind: kind.name)
def test_a_model_must_know_a_position(kind: PositionKind, max_positions: int) -> None:
    message = refusal(TransformerConfig(positions=kind, max_positions=max_positions))
    assert message == f"model.max_positions ({max_positions}) must be at least 1"
    TransformerConfig(positions=kind, max_positions=1).validate()


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_only_learned_positions_run_out_and_the_proposal_is_enough(kind: PositionKind) -> None:
    config = TransformerConfig(positions=kind, max_positions=100)
    config.require_positions(100, "what")
    if kind not in (PositionKind.learned, PositionKind.learned_per_layer):
        config.require_positions(10**6, "what")
        return
    with pytest.raises(UserError) as refused:
        config.require_positions(101, "data.max_source_tokens (97), padded,")
    assert str(refused.value).startswith(
        "data.max_source_tokens (97), padded, needs 101 positions and model.max_positions (100) learns fewer: "
    )
    assert accept_proposal(config, str(refused.value)) == 101
    config.require_positions(101, "what")


LARGE: list[dict[str, Any]] = [
    {},
    {"positions": PositionKind.learned, "max_positions": 3000},
    {"positions": PositionKind.learned_per_layer, "max_positions": 300},
    {"feed_forward_dim": 3000},
    {"encoder_layers": 9},
    {"key_dim": 300, "value_dim": 20},
    {"value_dim": 300},
    {"pointer": PointerConfig(enabled=True, key_dim=3000)},
    {"attention": at(("cross",), num_heads=64, key_dim=100, value_dim=2, kv_heads=1)},
    {"attention": at(("encoder_self",), value_dim=1000)},
    {"tie_embeddings": False},
    {"positions": PositionKind.relative_bias, "feed_forward": FeedForwardKind.swiglu},
]


@pytest.mark.parametrize("sizes", LARGE, ids=lambda sizes: ", ".join(sizes))
def test_the_least_number_of_parameters_is_below_the_true_one_and_near(sizes: dict[str, Any]) -> None:
    """It guards the memory against configs from strangers: too high, it refuses honest ones; too low, it is no use."""
    config = TransformerConfig(**{"width": 32, "num_heads": 4, "encoder_layers": 2, "decoder_layers": 2, **sizes})
    config.validate()
    true = Transformer(config, vocab_size=100).num_parameters
    assert true / 4 < config.least_parameters(100) <= true
