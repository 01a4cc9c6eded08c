"""Encoder and decoder layers: the residual wiring in view. Each sub-layer is normalise, transform, drop out, add."""

from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.cache import LayerCache
from summarizer.model.config import AttentionConfig, TransformerConfig
from summarizer.model.feed_forward import FeedForward
from summarizer.model.scoring import build_score


class EncoderLayer(nn.Module):
    """Self-attention, then the position-wise network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = _attention(config, config.attention.encoder_self)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(width=config.width, hidden_dim=config.feed_forward_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_BSD: Tensor, source_mask_BS: Tensor) -> Tensor:
        normal_BSD = self.attention_norm(hidden_BSD)
        attended_BSD = self.attention(normal_BSD, normal_BSD, mask_BTS=source_mask_BS[:, None])
        hidden_BSD = hidden_BSD + self.dropout(attended_BSD)
        normal_BSD = self.feed_forward_norm(hidden_BSD)
        hidden_BSD = hidden_BSD + self.dropout(self.feed_forward(normal_BSD))
        return hidden_BSD


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the encoder output, then the position-wise network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(config.width)
        self.self_attention = _attention(config, config.attention.decoder_self)
        self.cross_attention_norm = nn.LayerNorm(config.width)
        self.cross_attention = _attention(config, config.attention.cross)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(width=config.width, hidden_dim=config.feed_forward_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_BTD: Tensor, encoder_output_BSD: Tensor, source_mask_BS: Tensor) -> Tensor:
        """All target positions at once. Padding is at the end, so causality alone hides it from real tokens."""
        normal_BTD = self.self_attention_norm(hidden_BTD)
        attended_BTD = self.self_attention(normal_BTD, normal_BTD, causal=True)
        hidden_BTD = hidden_BTD + self.dropout(attended_BTD)
        normal_BTD = self.cross_attention_norm(hidden_BTD)
        attended_BTD = self.cross_attention(normal_BTD, encoder_output_BSD, mask_BTS=source_mask_BS[:, None])
        hidden_BTD = hidden_BTD + self.dropout(attended_BTD)
        normal_BTD = self.feed_forward_norm(hidden_BTD)
        hidden_BTD = hidden_BTD + self.dropout(self.feed_forward(normal_BTD))
        return hidden_BTD

    def step(self, hidden_BWD: Tensor, step: int, cache: LayerCache, source_mask_BS: Tensor) -> Tensor:
        """Target position ``step`` of every beam: :meth:`forward` without repeating earlier positions."""
        normal_BWD = self.self_attention_norm(hidden_BWD)
        history = cache.write(step, *self.self_attention.keys_values(normal_BWD))
        attended_N1D = self.self_attention.attend(normal_BWD.flatten(0, 1)[:, None], history)
        hidden_BWD = hidden_BWD + attended_N1D.view_as(hidden_BWD)
        normal_BWD = self.cross_attention_norm(hidden_BWD)
        hidden_BWD = hidden_BWD + self.cross_attention.attend(normal_BWD, cache.cross, mask_BTS=source_mask_BS[:, None])
        normal_BWD = self.feed_forward_norm(hidden_BWD)
        hidden_BWD = hidden_BWD + self.feed_forward(normal_BWD)
        return hidden_BWD


def _attention(config: TransformerConfig, site: AttentionConfig) -> MultiHeadAttention:
    shape = config.attention_shape(site)
    return MultiHeadAttention(
        width=config.width,
        num_heads=shape.num_heads,
        key_dim=shape.key_dim,
        value_dim=shape.value_dim,
        score=build_score(site.score, num_heads=shape.num_heads, key_dim=shape.key_dim),
        dropout=config.attention_dropout,
    )
