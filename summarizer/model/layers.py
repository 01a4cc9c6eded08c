"""Encoder and decoder layers: the residual wiring in view."""

from __future__ import annotations

from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.cache import DecoderCache, LayerCache
from summarizer.model.config import AttentionConfig, TransformerConfig
from summarizer.model.feed_forward import build_feed_forward
from summarizer.model.positions import attention_positions, layer_positions
from summarizer.model.residual import build_norm, build_residual
from summarizer.model.scoring import build_score
from summarizer.model.segments import Segments
from summarizer.model.unpadded import Documents, Rows, longest


class EncoderLayer(nn.Module):
    """Self-attention, then the position-wise network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.positions = layer_positions(config.positions, width=config.width, max_positions=config.max_positions)
        self.attention_norm = build_norm(config.norm, config.width)
        self.attention = _self_attention(config, config.attention.encoder_self, causal=False)
        self.feed_forward_norm = build_norm(config.norm, config.width)
        self.feed_forward = build_feed_forward(
            config.feed_forward, width=config.width, hidden_dim=config.feed_forward_size
        )
        self.residual = build_residual(config.norm_placement, config.dropout)

    def forward(
        self,
        hidden_BSD: Tensor,
        source_mask_BS: Tensor | None,
        segments: Segments | None = None,
        rows: Rows | None = None,
    ) -> Tensor:
        """:param rows: that are joined in ``hidden_BSD``, B being 1 then."""

        def attend(input_BSD: Tensor) -> Tensor:
            output_BSD: Tensor = self.attention(
                input_BSD,
                input_BSD,
                mask_BTS=_for_every_query(source_mask_BS),
                segments=segments,
                documents=None if rows is None else (rows, rows),
            )
            return output_BSD

        hidden_BSD = self.positions.added_to(hidden_BSD, 0, longest(hidden_BSD, rows), rows)
        hidden_BSD = self.residual(hidden_BSD, self.attention_norm, attend)
        hidden_BSD = self.residual(hidden_BSD, self.feed_forward_norm, self.feed_forward)
        return hidden_BSD


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the encoder output, then the position-wise network."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.positions = layer_positions(config.positions, width=config.width, max_positions=config.max_positions)
        self.self_attention_norm = build_norm(config.norm, config.width)
        self.self_attention = _self_attention(config, config.attention.decoder_self, causal=True)
        self.cross_attention_norm = build_norm(config.norm, config.width)
        self.cross_attention = _attention(config, config.attention.cross)
        self.feed_forward_norm = build_norm(config.norm, config.width)
        self.feed_forward = build_feed_forward(
            config.feed_forward, width=config.width, hidden_dim=config.feed_forward_size
        )
        self.residual = build_residual(config.norm_placement, config.dropout)

    def forward(
        self,
        hidden_BTD: Tensor,
        encoder_output_BSD: Tensor,
        source_mask_BS: Tensor | None,
        segments: Segments | None = None,
        documents: Documents | None = None,
    ) -> Tensor:
        """All target positions at once. Padding is at the end, so causality alone hides it from real tokens.

        :param segments: of the target positions and the real ones of the source.
        :param documents: whose rows are joined in ``hidden_BTD`` and ``encoder_output_BSD``, B being 1 then.
        """
        rows = None if documents is None else documents.target

        def attend_to_target(input_BTD: Tensor) -> Tensor:
            output_BTD: Tensor = self.self_attention(
                input_BTD, input_BTD, causal=True, documents=None if rows is None else (rows, rows)
            )
            return output_BTD

        def attend_to_source(input_BTD: Tensor) -> Tensor:
            output_BTD: Tensor = self.cross_attention(
                input_BTD,
                encoder_output_BSD,
                mask_BTS=_for_every_query(source_mask_BS),
                segments=segments,
                documents=None if documents is None else (documents.target, documents.source),
            )
            return output_BTD

        hidden_BTD = self.positions.added_to(hidden_BTD, 0, longest(hidden_BTD, rows), rows)
        hidden_BTD = self.residual(hidden_BTD, self.self_attention_norm, attend_to_target)
        hidden_BTD = self.residual(hidden_BTD, self.cross_attention_norm, attend_to_source)
        hidden_BTD = self.residual(hidden_BTD, self.feed_forward_norm, self.feed_forward)
        return hidden_BTD

    def step(self, hidden_BWD: Tensor, step: int | Tensor, own: LayerCache, cache: DecoderCache) -> Tensor:
        """Target position ``step`` of every beam: :meth:`forward` without repeating earlier positions.

        :param own: this layer's share of ``cache``.
        """

        def attend_to_target(input_BWD: Tensor) -> Tensor:
            input_N1D = input_BWD.flatten(0, 1)[:, None]  # all at one position, each beam with a vector of its own
            history = own.write(step, self.self_attention.keys_values(input_N1D, start=step))
            return self.self_attention.attend_to_histories(
                input_BWD, history, step=step, mask_BWS=cache.history_mask_BWS
            )

        def attend_to_source(input_BWD: Tensor) -> Tensor:
            return self.cross_attention.attend(input_BWD, own.cross, mask_BTS=cache.source_mask_BS[:, None])

        hidden_BWD = self.positions.added_to(hidden_BWD, step, 1)
        hidden_BWD = self.residual(hidden_BWD, self.self_attention_norm, attend_to_target)
        hidden_BWD = self.residual(hidden_BWD, self.cross_attention_norm, attend_to_source)
        hidden_BWD = self.residual(hidden_BWD, self.feed_forward_norm, self.feed_forward)
        return hidden_BWD


def _for_every_query(mask_BS: Tensor | None) -> Tensor | None:
    """mask_B1S."""
    return None if mask_BS is None else mask_BS[:, None]


def _self_attention(config: TransformerConfig, site: AttentionConfig, *, causal: bool) -> MultiHeadAttention:
    shape = config.attention_shape(site)
    attention = _attention(config, site)
    attention.positions = attention_positions(
        config.positions, num_heads=shape.num_heads, key_dim=shape.key_dim, causal=causal
    )
    return attention


def _attention(config: TransformerConfig, site: AttentionConfig) -> MultiHeadAttention:
    shape = config.attention_shape(site)
    return MultiHeadAttention(
        width=config.width,
        shape=shape,
        score=build_score(site.score, num_heads=shape.num_heads, key_dim=shape.key_dim),
        dropout=config.attention_dropout,
    )
