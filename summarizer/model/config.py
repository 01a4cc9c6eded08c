"""The size and shape of a Transformer, as a config dataclass."""

import math
from dataclasses import dataclass, field
from enum import Enum

from summarizer.errors import UserError


class ScoreKind(Enum):
    """How much a query q cares for a key k, both of size K. Lower-case, for these are the words to type."""

    scaled_dot = "scaled_dot"  # q·k / sqrt(K), Vaswani et al. 2017
    dot = "dot"  # q·k, Luong et al. 2015
    general = "general"  # q·M k / sqrt(K), Luong et al. 2015
    additive = "additive"  # v·tanh(q + k), the weighted sum of Bahdanau et al. 2015


@dataclass(kw_only=True)
class AttentionConfig:
    """One of the places where a layer attends. Null takes what the model says for all of them."""

    score: ScoreKind = ScoreKind.scaled_dot
    """How much a query cares for a key: scaled_dot, dot, general or additive."""

    num_heads: int | None = None
    key_dim: int | None = None
    value_dim: int | None = None


@dataclass(kw_only=True)
class AttentionSites:
    """The three places where layers attend; each chooses for itself."""

    encoder_self: AttentionConfig = field(default_factory=AttentionConfig)
    decoder_self: AttentionConfig = field(default_factory=AttentionConfig)
    cross: AttentionConfig = field(default_factory=AttentionConfig)


@dataclass(frozen=True)
class AttentionShape:
    """An attention's sizes once every null is resolved."""

    num_heads: int
    key_dim: int
    value_dim: int


@dataclass(kw_only=True)
class TransformerConfig:
    """Everything that determines the model's weights but for the vocabulary."""

    width: int = 256
    """Size of the vectors between the layers."""

    num_heads: int = 4
    """Heads of every attention that does not set its own."""

    encoder_layers: int = 4
    decoder_layers: int = 4

    feed_forward_dim: int | None = None
    """Hidden size of the position-wise network; by default four times the width."""

    key_dim: int | None = None
    """Size of one head's queries and keys; by default width / num_heads."""

    value_dim: int | None = None
    """Size of one head's values; by default width / num_heads."""

    attention: AttentionSites = field(default_factory=AttentionSites)
    """The score function, and if wished the heads, of each attention site."""

    dropout: float = 0.1
    """Probability of dropping an element of an embedding or of a sub-layer's output during training."""

    attention_dropout: float = 0.0
    """Probability of dropping an attention weight. Above zero the fused kernels for CPU are lost."""

    tie_embeddings: bool = True
    """Use one matrix for source embedding, target embedding and output projection (Press & Wolf 2017)."""

    @property
    def feed_forward_size(self) -> int:
        return self.feed_forward_dim if self.feed_forward_dim is not None else 4 * self.width

    def attention_shape(self, site: AttentionConfig) -> AttentionShape:
        """Sizes of the attention at ``site``: its own, else the model's, else width / num_heads."""
        num_heads = _first(site.num_heads, self.num_heads)
        return AttentionShape(
            num_heads=num_heads,
            key_dim=_first(site.key_dim, self.key_dim, self.width // num_heads),
            value_dim=_first(site.value_dim, self.value_dim, self.width // num_heads),
        )

    def validate(self) -> None:
        """Raise UserError for a value that no model can have."""
        for name in ("width", "num_heads", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} ({getattr(self, name)}) must be at least 1")
        if self.width % 2:
            raise UserError(f"model.width ({self.width}) must be even: sines fill one half, cosines the other")
        if self.feed_forward_size < 1:
            raise UserError(f"model.feed_forward_dim ({self.feed_forward_dim}) must be at least 1")
        for name in ("encoder_self", "decoder_self", "cross"):
            self._validate_site(name, getattr(self.attention, name))
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name} ({getattr(self, name)}) must be at least 0 and below 1")

    def _validate_site(self, name: str, site: AttentionConfig) -> None:
        heads_key = "model.num_heads" if site.num_heads is None else f"model.attention.{name}.num_heads"
        num_heads = _first(site.num_heads, self.num_heads)
        if num_heads < 1:
            raise UserError(f"{heads_key} ({num_heads}) must be at least 1")
        has_sizes = all(_first(getattr(site, key), getattr(self, key), 0) for key in ("key_dim", "value_dim"))
        if self.width % num_heads and not has_sizes:
            even_multiple = math.lcm(2, num_heads)
            nearest = max(1, round(self.width / even_multiple)) * even_multiple
            raise UserError(
                f"model.width ({self.width}) must be divisible by {heads_key} ({num_heads}): "
                f"try model.width={nearest}, or set model.key_dim and model.value_dim"
            )
        shape = self.attention_shape(site)
        for key in ("key_dim", "value_dim"):
            if getattr(shape, key) < 1:
                where = f"model.{key}" if getattr(site, key) is None else f"model.attention.{name}.{key}"
                raise UserError(f"{where} ({getattr(shape, key)}) must be at least 1")


def _first(*choices: int | None) -> int:
    """The first that is not null."""
    return next(choice for choice in choices if choice is not None)
