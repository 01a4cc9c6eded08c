"""A Transformer in, a folder that CTranslate2 reads out: the same weights, so that it has the same work and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from summarizer.model.config import FeedForwardKind, NormKind, NormPlacement, PositionKind, ScoreKind, TransformerConfig
from summarizer.model.positions import sinusoids
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import END_ID, START_ID, UNK_ID


def can_export(config: TransformerConfig) -> bool:
    """Whether it knows the mechanisms of such a model. It has no pointer and no additive attention, for example."""
    sites = config.attention
    return (
        not config.pointer.enabled
        and config.positions is PositionKind.sinusoidal
        and (config.norm, config.norm_placement) == (NormKind.layer, NormPlacement.pre)
        and config.feed_forward is FeedForwardKind.relu
        and all(
            site.score is ScoreKind.scaled_dot
            and (site.num_heads, site.kv_heads, site.key_dim, site.value_dim) == (None,) * 4
            for site in (sites.encoder_self, sites.decoder_self, sites.cross)
        )
        and config.key_dim is None
        and config.value_dim is None
    )


def export(model: Transformer, folder: str) -> None:
    """Write ``model``, whose tokens are called by their ids there."""
    from ctranslate2.specs import TransformerSpec, common_spec

    config = model.config
    spec = TransformerSpec.from_config(
        (config.encoder_layers, config.decoder_layers),
        config.num_heads,
        pre_norm=True,
        activation=common_spec.Activation.RELU,
    )
    spec.config.bos_token = spec.config.decoder_start_token = str(START_ID)
    spec.config.eos_token, spec.config.unk_token = str(END_ID), str(UNK_ID)
    spec.config.add_source_bos = spec.config.add_source_eos = False
    positions = sinusoids(config.max_positions, config.width).numpy()
    spec.encoder.embeddings[0].weight = _array(model.source_embedding.weight)
    spec.decoder.embeddings.weight = _array(model.target_embedding.weight)
    spec.decoder.projection.weight = _array(model.vocabulary.weight)
    for side in (spec.encoder, spec.decoder):
        side.scale_embeddings = True
        side.position_encodings.encodings = positions
    _set_norm(spec.encoder.layer_norm, model.encoder_norm)
    _set_norm(spec.decoder.layer_norm, model.decoder_norm)
    for theirs, ours in zip(spec.encoder.layer, model.encoder_layers, strict=True):
        _set_self_attention(theirs.self_attention, ours.attention_norm, ours.attention)
        _set_feed_forward(theirs.ffn, ours)
    for theirs, layer in zip(spec.decoder.layer, model.decoder_layers, strict=True):
        _set_self_attention(theirs.self_attention, layer.self_attention_norm, layer.self_attention)
        _set_norm(theirs.attention.layer_norm, layer.cross_attention_norm)
        cross: Any = layer.cross_attention
        _set_linear(theirs.attention.linear[0], cross.query)
        _set_linear(theirs.attention.linear[1], cross.key, cross.value)
        _set_linear(theirs.attention.linear[2], cross.output)
        _set_feed_forward(theirs.ffn, layer)
    tokens = [str(token) for token in range(model.vocab_size)]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.validate()
    spec.optimize(quantization=None)
    Path(folder).mkdir(parents=True)
    spec.save(folder)


def _set_self_attention(spec: Any, norm: Any, attention: Any) -> None:
    _set_norm(spec.layer_norm, norm)
    _set_linear(spec.linear[0], attention.query, attention.key, attention.value)
    _set_linear(spec.linear[1], attention.output)


def _set_feed_forward(spec: Any, layer: Any) -> None:
    _set_norm(spec.layer_norm, layer.feed_forward_norm)
    _set_linear(spec.linear_0, layer.feed_forward.widen)
    _set_linear(spec.linear_1, layer.feed_forward.narrow)


def _set_linear(spec: Any, *linears: nn.Linear) -> None:
    spec.weight = np.concatenate([_array(linear.weight) for linear in linears])
    spec.bias = np.concatenate([_array(linear.bias) for linear in linears])


def _set_norm(spec: Any, norm: Any) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _array(parameter: Any) -> Any:
    return parameter.detach().cpu().numpy()
