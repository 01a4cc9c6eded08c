"""The residual wiring: each sub-layer adds to the stream, and only what it adds is ever dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.cache import DecoderCache
from summarizer.model.config import AttentionConfig, AttentionSites, ScoreKind, TransformerConfig
from summarizer.model.layers import DecoderLayer, EncoderLayer
from summarizer.model.masks import length_mask
from summarizer.model.scoring import AdditiveScore, BilinearScore, DotProductScore

CONFIG = TransformerConfig(width=8, num_heads=2, feed_forward_dim=12, dropout=0.5)
MASK_BS = length_mask(torch.tensor([6, 3]), 6)
HIDDEN_BTD = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
SOURCE_BSD = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1))


def encode(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Output and input."""
    return layer(SOURCE_BSD, MASK_BS), SOURCE_BSD


def decode(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return layer(HIDDEN_BTD, SOURCE_BSD, MASK_BS), HIDDEN_BTD


def decode_step(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, DecoderLayer)
    cross = layer.cross_attention.keys_values(SOURCE_BSD)
    own = CONFIG.attention_shape(CONFIG.attention.decoder_self)
    cache = DecoderCache.empty(own, [cross], MASK_BS, num_beams=5, max_length=1)
    cache.extend()
    return layer.step(HIDDEN_BTD, 0, cache.layers[0], cache), HIDDEN_BTD


each_way = pytest.mark.parametrize(
    ("kind", "run"), [(EncoderLayer, encode), (DecoderLayer, decode), (DecoderLayer, decode_step)]
)
Run = Callable[[nn.Module], tuple[Tensor, Tensor]]
Kind = Callable[[TransformerConfig], nn.Module]


@each_way
def test_sub_layers_that_write_nothing_leave_the_stream_as_it_was(kind: Kind, run: Run) -> None:
    layer = kind(CONFIG).eval()
    for name, parameter in layer.named_parameters():
        if name.split(".")[-2] in ("output", "narrow"):
            nn.init.zeros_(parameter)
    output, stream = run(layer)
    assert torch.equal(output, stream)


@each_way
def test_the_sum_of_what_the_sub_layers_write_is_what_the_layer_adds(kind: Kind, run: Run) -> None:
    torch.manual_seed(0)
    layer = kind(CONFIG).eval()
    written: list[Tensor] = []
    for name, module in layer.named_modules():
        if name.split(".")[-1] in ("output", "narrow"):
            module.register_forward_hook(lambda module, inputs, output: written.append(output))
    output, stream = run(layer)
    assert len(written) == (2 if kind is EncoderLayer else 3)
    assert all(tensor.abs().max() > 1e-3 for tensor in written)
    torch.testing.assert_close(output - stream, sum(tensor.view_as(stream) for tensor in written))


@pytest.mark.parametrize(("kind", "run"), [(EncoderLayer, encode), (DecoderLayer, decode)])
def test_what_sub_layers_write_is_dropped_in_training_only(kind: Kind, run: Run) -> None:
    layer = kind(CONFIG)
    layer.residual.dropout.p = 1.0
    output, stream = run(layer.train())
    assert torch.equal(output, stream)
    output, stream = run(layer.eval())
    assert not torch.allclose(output, stream)
    assert torch.equal(output, run(layer)[0])


def test_the_configured_probabilities_reach_their_places() -> None:
    config = TransformerConfig(width=8, num_heads=2, key_dim=3, value_dim=5, dropout=0.2, attention_dropout=0.3)
    for layer in (EncoderLayer(config), DecoderLayer(config)):
        assert layer.residual.dropout.p == 0.2
        attentions = [module for module in layer.children() if isinstance(module, MultiHeadAttention)]
        assert len(attentions) == (1 if isinstance(layer, EncoderLayer) else 2)
        assert [attention.dropout for attention in attentions] == [0.3] * len(attentions)
        assert all(attention.query.out_features == 6 for attention in attentions)
        assert all(attention.value.out_features == 10 for attention in attentions)


def test_each_site_gets_the_mechanism_and_the_sizes_that_were_chosen_for_it() -> None:
    sites = AttentionSites(
        encoder_self=AttentionConfig(score=ScoreKind.additive, num_heads=1, key_dim=3, value_dim=5),
        decoder_self=AttentionConfig(score=ScoreKind.general, num_heads=4),
        cross=AttentionConfig(score=ScoreKind.dot, value_dim=7),
    )
    config = TransformerConfig(width=8, num_heads=2, attention=sites)
    decoder_layer = DecoderLayer(config)
    for attention, score, num_heads, key_size, value_size in (
        (EncoderLayer(config).attention, AdditiveScore, 1, 3, 5),
        (decoder_layer.self_attention, BilinearScore, 4, 8, 8),
        (decoder_layer.cross_attention, DotProductScore, 2, 8, 14),
    ):
        assert type(attention.score) is score
        assert attention.num_heads == num_heads
        assert attention.key.out_features == attention.query.out_features == key_size
        assert attention.value.out_features == attention.output.in_features == value_size
    assert decoder_layer.cross_attention.score.scale == 1.0
