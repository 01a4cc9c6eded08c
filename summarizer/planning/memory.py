"""A model, a batch and a way to share both out in; the bytes that training takes of each device out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property, lru_cache

import torch

from summarizer.model.config import TransformerConfig
from summarizer.model.memory import KeptBytes, kept_bytes
from summarizer.model.transformer import Transformer
from summarizer.training.cross_entropy import MAX_LOGITS

_FLOAT = 4  # bytes of a weight, a gradient, a moment
_MOMENTS = 2  # of AdamW


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model."""

    encoder_layer: int  # each
    decoder_layer: int
    around: int  # embeddings, vocabulary, pointer, last norms
    total: int

    @classmethod
    def of(cls, config: TransformerConfig, vocab_size: int) -> Sizes:
        with torch.device("meta"):
            model = Transformer(replace(config, encoder_layers=1, decoder_layers=1), vocab_size)
        encoder, decoder = (
            sum(parameter.numel() for parameter in layers[0].parameters())
            for layers in (model.encoder_layers, model.decoder_layers)
        )
        around = model.num_parameters - encoder - decoder
        total = around + config.encoder_layers * encoder + config.decoder_layers * decoder
        return cls(encoder, decoder, around, total)


@dataclass(frozen=True)
class BatchShape:
    """What one device computes at once, padding included."""

    examples: float  # a mean may be broken
    source: int
    target: int


@dataclass(frozen=True)
class MemoryUse:
    """Bytes on one device at the fullest moment of an update."""

    weights: float
    moments: float
    gradients: float
    gathered: float  # weights and gradients of the layer at work, where each device keeps but a part of them
    activations: float  # kept for the backward pass
    working: float  # gradients of the vocabulary's weights, and a chunk of logits or a layer that is computed again

    @property
    def total(self) -> float:
        return sum(self.as_dict().values())

    def as_dict(self) -> Mapping[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class _Shape:
    """What a trace depends on. Configs are compared by their values."""

    config: TransformerConfig
    examples: int
    source: int
    target: int
    low_precision: torch.dtype | None

    @property
    def key(self) -> object:
        return astuple(self.config), self.examples, self.source, self.target, self.low_precision

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=256)
def _traced(shape: _Shape) -> KeptBytes:
    """Remembered, for each way to share the memory and each alternative asks for the same few shapes."""
    return kept_bytes(
        shape.config,
        examples=shape.examples,
        source=shape.source,
        target=shape.target,
        low_precision=shape.low_precision,
    )


class MemoryModel:
    """Foretells :class:`MemoryUse` of batches of one pair of lengths.

    :param low_precision: what autocast multiplies in; None for float32.
    :param shards: devices over which weights, gradients and moments are spread; 1 where each has all of them.
    :param recompute: only what enters a layer is kept, and the rest computed again.
    :param accumulates: an update has several batches, so that gradients are there while a batch goes forward.
    """

    def __init__(
        self,
        config: TransformerConfig,
        vocab_size: int,
        *,
        source: int,
        target: int,
        low_precision: torch.dtype | None,
        shards: int = 1,
        recompute: bool = False,
        accumulates: bool = False,
    ) -> None:
        self.config = config
        self.vocab_size = vocab_size
        self.source, self.target = source, target
        self.low_precision = low_precision
        self.shards = shards
        self.recompute = recompute
        self.accumulates = accumulates
        self.sizes = Sizes.of(config, vocab_size)

    def use(self, examples: float) -> MemoryUse:
        """Of ``examples`` on each device."""
        sizes, kept = self.sizes, self._kept(examples)
        weights = _FLOAT * sizes.total / self.shards
        working = self._vocabulary_gradients(examples) + max(self._chunk(examples), self._computed_again(examples))
        # Gradients come into being as activations go: the fullest moment is before that, or after.
        gradients = weights if self.accumulates else max(0.0, weights - kept - working)
        return MemoryUse(
            weights=weights,
            moments=_MOMENTS * weights,
            gradients=gradients,
            gathered=self._gathered(),
            activations=kept,
            working=working,
        )

    def most_examples(self, memory: float) -> int:
        """So many fit into ``memory`` bytes of each device; 0 if none does."""
        if self.use(1).total > memory:
            return 0
        most = 1
        while self.use(2 * most).total <= memory:
            most *= 2
        step = most
        while step := step // 2:
            if self.use(most + step).total <= memory:
                most += step
        return most

    def kept_once(self, examples: float) -> float:
        """Bytes kept for the backward pass if nothing is recomputed: what has to go through the memory."""
        return self._linear(examples, KeptBytes.of)

    def _kept(self, examples: float) -> float:
        if not self.recompute:
            return self.kept_once(examples)
        config = self.config
        entering = _FLOAT * config.width * examples
        layers = config.encoder_layers * self.source * entering + config.decoder_layers * self.target * entering
        return layers + self._layer(examples, "around")

    def _computed_again(self, examples: float) -> float:
        """One layer at a time, with the gradients of its two largest tensors."""
        if not self.recompute:
            return 0.0
        size = _FLOAT if self.low_precision is None else self.low_precision.itemsize
        slopes = 2 * size * examples * max(self.source, self.target) * self.config.feed_forward_size
        return max(self._layer(examples, "encoder_layer"), self._layer(examples, "decoder_layer")) + slopes

    def _layer(self, examples: float, part: str) -> float:
        return self._linear(examples, lambda kept, config: int(getattr(kept, part)))

    def _linear(self, examples: float, value: Callable[[KeptBytes, TransformerConfig], int]) -> float:
        one, two = (value(kept, self.config) for kept in self._traces)
        return float(one + (examples - 1) * (two - one))

    @cached_property
    def _traces(self) -> tuple[KeptBytes, KeptBytes]:
        """Of one example and of two: each further one adds as much."""
        one, two = (
            _traced(_Shape(self.config, examples, self.source, self.target, self.low_precision)) for examples in (1, 2)
        )
        return one, two

    def _vocabulary_gradients(self, examples: float) -> float:
        """Ready as soon as the loss is: of the weights, and of the decoder's output."""
        return _FLOAT * self.config.width * (self.vocab_size + examples * self.target)

    def _chunk(self, examples: float) -> float:
        """Of logits with their gradient, and in low precision of the weights and its share of their gradient."""
        elements = min(examples * self.target, max(1, MAX_LOGITS // self.vocab_size)) * self.vocab_size
        if self.low_precision is None:
            return _FLOAT * elements
        low = self.low_precision.itemsize
        return (_FLOAT + low) * elements + 2 * low * self.vocab_size * self.config.width

    def _gathered(self) -> float:
        if self.shards == 1:
            return 0.0
        layer = max(self.sizes.encoder_layer, self.sizes.decoder_layer)
        # Of the layer at work and of the next one, which is fetched meanwhile; gradients of one; and what is around.
        return _FLOAT * (3 * layer + 2 * self.sizes.around)
