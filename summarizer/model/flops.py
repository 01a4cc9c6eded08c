"""A model's sizes and the lengths of its sequences in; the floating-point operations that they take out.

A multiply-add is two operations. Counted are matrix products, and of what is done element by element the work of
additive scores, of which there is as much as of their products, of rotations, and of biases of scores. Softmax, norms,
activations, dropout and the biases of linear maps are not: they take a few operations where a product takes the width.

Backward multiplies twice as often as forward, for the gradient of either factor (Chowdhery et al. 2022, appendix B).
What an implementation computes again to save memory, and what it computes for padding or for pairs that causality
forbids, does not count, unless :meth:`Amounts.padded` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from summarizer.model.config import (
    AttentionConfig,
    AttentionShape,
    FeedForwardKind,
    PositionKind,
    ScoreKind,
    TransformerConfig,
)


class Amounts(NamedTuple):
    """How much there is to compute. Amounts of several batches add up, field by field."""

    sources: int  # tokens that go through the encoder
    targets: int  # through the decoder
    predicted: int  # those of them that have a row of logits
    source_pairs: int  # query and key, in the encoder: S² an example
    target_pairs: int  # in the decoder, which looks back only: T (T + 1) / 2 an example
    cross_pairs: int  # between the two: T S an example

    @classmethod
    def of(cls, source_lengths_B: Tensor, target_lengths_B: Tensor) -> Amounts:
        """Of real tokens alone: what any implementation must compute. Lengths are int64."""
        sources, targets = source_lengths_B, target_lengths_B
        counts = (
            sources,
            targets,
            targets,
            sources * sources,
            targets * (targets + 1) // 2,
            sources * targets,
        )
        return cls(*(int(count.sum()) for count in counts))

    @classmethod
    def padded(cls, examples: int, source: int, target: int, predicted: int) -> Amounts:
        """Of ``examples`` padded to these lengths: what kernels compute that skip nothing, causal ones included.

        :param predicted: real target tokens, for the others get no row of logits.
        """
        return cls(
            sources=examples * source,
            targets=examples * target,
            predicted=predicted,
            source_pairs=examples * source**2,
            target_pairs=examples * target**2,
            cross_pairs=examples * target * source,
        )


@dataclass(frozen=True)
class Operations:
    """Of one part of a model, in a forward pass and the backward pass that follows."""

    products: int = 0  # forward
    elementwise: int = 0  # forward
    elementwise_backward: int = 0

    @property
    def forward(self) -> int:
        return self.products + self.elementwise

    @property
    def both(self) -> int:
        """Forward and backward."""
        return 3 * self.products + self.elementwise + self.elementwise_backward

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.products + other.products,
            self.elementwise + other.elementwise,
            self.elementwise_backward + other.elementwise_backward,
        )


def forward_flops(config: TransformerConfig, vocab_size: int, amounts: Amounts) -> int:
    """Of one pass through encoder, decoder and vocabulary, the loss left out."""
    return sum(part.forward for part in operations_by_part(config, vocab_size, amounts).values())


def update_flops(config: TransformerConfig, vocab_size: int, amounts: Amounts) -> int:
    """Of a forward and a backward pass. The optimizer's, a few for each weight, are not counted."""
    return sum(part.both for part in operations_by_part(config, vocab_size, amounts).values())


def operations_by_part(config: TransformerConfig, vocab_size: int, amounts: Amounts) -> Mapping[str, Operations]:
    """What each kind of work takes, for people to see where it goes."""
    sites = config.attention
    in_encoder = _attention(
        config, sites.encoder_self, config.positions, amounts.sources, amounts.sources, amounts.source_pairs
    )
    in_decoder = _attention(
        config, sites.decoder_self, config.positions, amounts.targets, amounts.targets, amounts.target_pairs
    )
    cross = _attention(config, sites.cross, PositionKind.none, amounts.targets, amounts.sources, amounts.cross_pairs)
    network = _feed_forward(config)
    parts = {
        "attention, linear maps": _times(config.encoder_layers, in_encoder.maps)
        + _times(config.decoder_layers, in_decoder.maps + cross.maps),
        "attention, pairs of tokens": _times(config.encoder_layers, in_encoder.pairs)
        + _times(config.decoder_layers, in_decoder.pairs + cross.pairs),
        "feed-forward networks": _times(config.encoder_layers * amounts.sources, network)
        + _times(config.decoder_layers * amounts.targets, network),
        "vocabulary": Operations(products=2 * vocab_size * config.width * amounts.predicted),
    }
    if config.pointer.enabled:
        parts["pointer"] = _pointer(config, amounts)
    return parts


class AttentionOperations(NamedTuple):
    """Those that grow with the tokens, and those that grow with their pairs."""

    maps: Operations
    pairs: Operations

    @property
    def all(self) -> Operations:
        return self.maps + self.pairs


def attention_operations(
    shape: AttentionShape,
    score: ScoreKind,
    positions: PositionKind,
    *,
    width: int,
    queries: int,
    keys: int,
    pairs: int,
) -> AttentionOperations:
    """Of one attention whose queries look at keys that are projected once."""
    of_queries, of_keys = shape.num_heads * shape.key_dim, shape.kv_heads * shape.key_dim
    of_values, mixed = shape.kv_heads * shape.value_dim, shape.num_heads * shape.value_dim
    maps = Operations(products=2 * width * ((of_queries + mixed) * queries + (of_keys + of_values) * keys))
    if score is ScoreKind.general:  # one more matrix a head
        maps += Operations(products=2 * of_queries * shape.key_dim * queries)
    if positions is PositionKind.rotary:  # two products and a sum for each element, and the same turned back
        turned = 3 * (of_queries * queries + of_keys * keys)
        maps += Operations(elementwise=turned, elementwise_backward=turned)
    of_pairs = Operations(products=2 * (of_queries + mixed) * pairs)
    if score is ScoreKind.additive:
        # For each element of a key. Forward, an addition and a tanh, which counts as one though it takes the time of
        # many. Backward, both once more, four for the slope of v·tanh, its product with the gradient, and a sum.
        of_pairs += Operations(elementwise=2 * of_queries * pairs, elementwise_backward=8 * of_queries * pairs)
    if positions in (PositionKind.alibi, PositionKind.relative_bias):  # added; what is learned gets a gradient
        learned = int(positions is PositionKind.relative_bias)
        biased = shape.num_heads * pairs
        of_pairs += Operations(elementwise=biased, elementwise_backward=learned * biased)
    return AttentionOperations(maps, of_pairs)


def _attention(
    config: TransformerConfig, site: AttentionConfig, positions: PositionKind, queries: int, keys: int, pairs: int
) -> AttentionOperations:
    return attention_operations(
        config.attention_shape(site),
        site.score,
        positions,
        width=config.width,
        queries=queries,
        keys=keys,
        pairs=pairs,
    )


def _feed_forward(config: TransformerConfig) -> Operations:
    """Of one token."""
    maps = 3 if config.feed_forward is FeedForwardKind.swiglu else 2
    return Operations(products=2 * maps * config.width * config.feed_forward_size)


def _pointer(config: TransformerConfig, amounts: Amounts) -> Operations:
    """An attention of one head to the encoder output, which it mixes as it is, and the gate's three vectors."""
    width, key_dim = config.width, config.pointer_key_dim
    tokens = width * key_dim * (amounts.targets + amounts.sources) + 3 * width * amounts.targets
    if config.pointer.score is ScoreKind.general:
        tokens += key_dim**2 * amounts.targets
    pairs = (key_dim + width) * amounts.cross_pairs
    additive = key_dim * amounts.cross_pairs if config.pointer.score is ScoreKind.additive else 0
    return Operations(2 * (tokens + pairs), elementwise=2 * additive, elementwise_backward=8 * additive)


def _times(count: int, operations: Operations) -> Operations:
    return Operations(
        count * operations.products, count * operations.elementwise, count * operations.elementwise_backward
    )
