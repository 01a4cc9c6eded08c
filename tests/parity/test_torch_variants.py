"""Post-norm and GELU give the numbers and gradients of torch.nn's layers; shared heads those of repeated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_torch_nn import (
    CAUSAL_TT,
    HEADS,
    HIDDEN,
    MASK_BS,
    WIDTH,
    assert_same,
    copy_decoder_layer,
    copy_encoder_layer,
    gradients,
    inputs,
)
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionShape, FeedForwardKind, NormPlacement, ScoreKind
from summarizer.model.scoring import build_score
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
each_layer = pytest.mark.parametrize(
    "network", [FeedForwardKind.relu, FeedForwardKind.gelu], ids=lambda kind: kind.name
)
each_placement = pytest.mark.parametrize("placement", NormPlacement, ids=lambda placement: placement.name)


def make_model(tiny_model: MakeModel, placement: NormPlacement, network: FeedForwardKind) -> Transformer:
    return tiny_model(
        width=WIDTH, num_heads=HEADS, feed_forward_dim=HIDDEN, norm_placement=placement, feed_forward=network
    )


def settings(placement: NormPlacement, network: FeedForwardKind) -> dict[str, Any]:
    """Of torch.nn's layers."""
    return {
        "dim_feedforward": HIDDEN,
        "dropout": 0.0,
        "activation": network.name,
        "batch_first": True,
        "norm_first": placement is NormPlacement.pre,
        "dtype": torch.float64,
    }


@each_layer
@each_placement
def test_encoder_layer(tiny_model: MakeModel, placement: NormPlacement, network: FeedForwardKind) -> None:
    ours = make_model(tiny_model, placement, network).encoder_layers[0]
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, **settings(placement, network))
    copy_encoder_layer(ours, theirs)
    hidden_BSD = inputs(6, seed=0)
    output_BSD = ours(hidden_BSD, MASK_BS)
    their_output_BSD = theirs(hidden_BSD, src_key_padding_mask=~MASK_BS)
    assert_same(output_BSD, their_output_BSD)
    by = (hidden_BSD, ours.feed_forward.widen.weight, ours.attention_norm.weight)
    their_by = (hidden_BSD, theirs.linear1.weight, theirs.norm1.weight)
    assert_same(gradients(output_BSD, *by), gradients(their_output_BSD, *their_by))


@each_layer
@each_placement
def test_decoder_layer(tiny_model: MakeModel, placement: NormPlacement, network: FeedForwardKind) -> None:
    ours = make_model(tiny_model, placement, network).decoder_layers[0]
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, **settings(placement, network))
    copy_decoder_layer(ours, theirs)
    hidden_BTD, source_BSD = inputs(5, seed=0), inputs(6, seed=1)
    output_BTD = ours(hidden_BTD, source_BSD, MASK_BS)
    their_output_BTD = theirs(hidden_BTD, source_BSD, tgt_mask=~CAUSAL_TT, memory_key_padding_mask=~MASK_BS)
    assert_same(output_BTD, their_output_BTD)
    by = (hidden_BTD, source_BSD, ours.feed_forward.widen.weight, ours.cross_attention_norm.weight)
    their_by = (hidden_BTD, source_BSD, theirs.linear1.weight, theirs.norm2.weight)
    assert_same(gradients(output_BTD, *by), gradients(their_output_BTD, *their_by))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("kind", ["padding", "causal"])
def test_shared_heads_are_repeated_heads(kind: str, kv_heads: int) -> None:
    torch.manual_seed(0)
    shape = AttentionShape(num_heads=4, kv_heads=kv_heads, key_dim=6, value_dim=3)
    score = build_score(ScoreKind.scaled_dot, num_heads=4, key_dim=6)
    ours = MultiHeadAttention(width=WIDTH, shape=shape, score=score, dropout=0.0).double()
    query_BTD, source_BSD = inputs(5, seed=0), inputs(6, seed=1)
    if kind == "padding":
        options: dict[str, Any] = {"mask_BTS": MASK_BS[:, None]}
        their_options: dict[str, Any] = {"attn_mask": MASK_BS[:, None, None]}
    else:
        source_BSD = query_BTD
        options, their_options = {"causal": True}, {"is_causal": True}
    output_BTD = ours(query_BTD, source_BSD, **options)

    def heads(projection: nn.Linear, hidden_BSD: Tensor, count: int) -> Tensor:
        split_BGSK = projection(hidden_BSD).unflatten(-1, (count, -1)).transpose(1, 2)
        return torch.stack([split_BGSK[:, head * count // 4] for head in range(4)], dim=1)

    mixed_BHTU = F.scaled_dot_product_attention(
        heads(ours.query, query_BTD, 4),
        heads(ours.key, source_BSD, kv_heads),
        heads(ours.value, source_BSD, kv_heads),
        **their_options,
    )
    their_output_BTD = ours.output(mixed_BHTU.transpose(1, 2).flatten(2))
    assert_same(output_BTD, their_output_BTD)
    by = (query_BTD, source_BSD, *ours.parameters())
    assert_same(gradients(output_BTD, *by), gradients(their_output_BTD, *by))
