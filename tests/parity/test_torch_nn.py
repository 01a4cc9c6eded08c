"""With the same weights, our attention, layers and stacks give the numbers and gradients of torch.nn's."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.layers import DecoderLayer, EncoderLayer
from summarizer.model.masks import causal_mask, length_mask
from summarizer.model.positions import sinusoids
from summarizer.model.transformer import Transformer

WIDTH, HEADS, HIDDEN = 16, 2, 24  # of the tiny models
assert_same = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
MASK_BS = length_mask(torch.tensor([6, 3, 1]), 6)  # ours: True = may attend; torch.nn's: True = may not
CAUSAL_TT = causal_mask(5)


def inputs(length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, length, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)


def gradients(output: Tensor, *by: Tensor) -> tuple[Tensor, ...]:
    """Of a sum with a different weight for each output."""
    directions = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * directions).sum(), by, retain_graph=True)


def joined(attention: MultiHeadAttention, kind: str) -> Tensor:
    """Queries', keys' and values' weights or biases as torch.nn keeps them: in one."""
    return torch.cat([getattr(part, kind) for part in (attention.query, attention.key, attention.value)])


@torch.no_grad()
def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    theirs.in_proj_weight.copy_(joined(ours, "weight"))
    theirs.in_proj_bias.copy_(joined(ours, "bias"))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


def copy_encoder_layer(ours: EncoderLayer, theirs: nn.TransformerEncoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.widen.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.narrow.state_dict())


def copy_decoder_layer(ours: DecoderLayer, theirs: nn.TransformerDecoderLayer) -> None:
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    theirs.norm1.load_state_dict(ours.self_attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.cross_attention_norm.state_dict())
    theirs.norm3.load_state_dict(ours.feed_forward_norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.widen.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.narrow.state_dict())


@pytest.fixture
def model(tiny_model: Callable[..., Transformer]) -> Transformer:
    return tiny_model(width=WIDTH, num_heads=HEADS, feed_forward_dim=HIDDEN, encoder_layers=2, decoder_layers=3)


@pytest.mark.parametrize("kind", ["padding", "causal"])
def test_attention(model: Transformer, kind: str) -> None:
    ours = model.encoder_layers[0].attention
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    copy_attention(ours, theirs)
    query_BTD = inputs(5, seed=0)
    if kind == "padding":
        source_BSD = inputs(6, seed=1)
        settings: dict[str, Any] = {"mask_BTS": MASK_BS[:, None]}
        their_settings = {"key_padding_mask": ~MASK_BS}
    else:
        source_BSD = query_BTD
        settings = {"causal": True}
        their_settings = {"attn_mask": ~CAUSAL_TT}
    output_BTD = ours(query_BTD, source_BSD, **settings)
    weights_BHTS = ours.weights(query_BTD, source_BSD, **settings)
    their_output_BTD, their_weights_BHTS = theirs(
        query_BTD, source_BSD, source_BSD, average_attn_weights=False, **their_settings
    )
    assert_same(output_BTD, their_output_BTD)
    assert_same(weights_BHTS, their_weights_BHTS)
    ours_by = (query_BTD, source_BSD, *(part.weight for part in (ours.query, ours.key, ours.value)))
    *input_gradients, query_DD, key_DD, value_DD = gradients(output_BTD, *ours_by)
    *their_input_gradients, joined_XD = gradients(their_output_BTD, query_BTD, source_BSD, theirs.in_proj_weight)
    assert_same(input_gradients, their_input_gradients)
    assert_same(torch.cat((query_DD, key_DD, value_DD)), joined_XD)


def test_encoder_layer(model: Transformer) -> None:
    ours = model.encoder_layers[0]
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    copy_encoder_layer(ours, theirs)
    hidden_BSD = inputs(6, seed=0)
    output_BSD = ours(hidden_BSD, MASK_BS)
    their_output_BSD = theirs(hidden_BSD, src_key_padding_mask=~MASK_BS)
    assert_same(output_BSD, their_output_BSD)
    assert_same(gradients(output_BSD, hidden_BSD), gradients(their_output_BSD, hidden_BSD))


def test_decoder_layer(model: Transformer) -> None:
    ours = model.decoder_layers[0]
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    copy_decoder_layer(ours, theirs)
    hidden_BTD, source_BSD = inputs(5, seed=0), inputs(6, seed=1)
    output_BTD = ours(hidden_BTD, source_BSD, MASK_BS)
    their_output_BTD = theirs(hidden_BTD, source_BSD, tgt_mask=~CAUSAL_TT, memory_key_padding_mask=~MASK_BS)
    assert_same(output_BTD, their_output_BTD)
    assert_same(gradients(output_BTD, hidden_BTD, source_BSD), gradients(their_output_BTD, hidden_BTD, source_BSD))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_the_whole_model(model: Transformer) -> None:
    theirs = nn.Transformer(
        WIDTH, HEADS, 2, 3, HIDDEN, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    for encoder_layers in zip(model.encoder_layers, theirs.encoder.layers, strict=True):
        copy_encoder_layer(*encoder_layers)
    for decoder_layers in zip(model.decoder_layers, theirs.decoder.layers, strict=True):
        copy_decoder_layer(*decoder_layers)
    theirs.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
    theirs.decoder.norm.load_state_dict(model.decoder_norm.state_dict())

    embedding_VD = model.source_embedding.weight
    source_BS = torch.randint(len(embedding_VD), (3, 6), generator=torch.Generator().manual_seed(0))
    input_BT = torch.randint(len(embedding_VD), (3, 5), generator=torch.Generator().manual_seed(1))
    their_output_BTD = theirs(
        embedding_VD[source_BS] * math.sqrt(WIDTH) + sinusoids(6, WIDTH),
        embedding_VD[input_BT] * math.sqrt(WIDTH) + sinusoids(5, WIDTH),
        tgt_mask=~CAUSAL_TT,
        src_key_padding_mask=~MASK_BS,
        memory_key_padding_mask=~MASK_BS,
    )
    logits_BTV = model.project(model(source_BS, MASK_BS, input_BT).hidden_BTD)
    their_logits_BTV = their_output_BTD @ embedding_VD.T
    assert_same(logits_BTV, their_logits_BTV)
    assert_same(gradients(logits_BTV, embedding_VD), gradients(their_logits_BTV, embedding_VD))
