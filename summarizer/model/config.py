"""The size and shape of a Transformer, as a config dataclass."""

import math
from dataclasses import dataclass, field
from enum import Enum

from summarizer.errors import UserError

# Configs come from strangers, too, and no model has so much.
_MOST_LAYERS = 1000
_LARGEST_SIZE = 1 << 20

_SITES = ("encoder_self", "decoder_self", "cross")  # the fields of AttentionSites


class ScoreKind(Enum):
    """How much a query q cares for a key k, both of size K. Lower-case, for these are the words to type."""

    scaled_dot = "scaled_dot"  # q·k / sqrt(K), Vaswani et al. 2017
    dot = "dot"  # q·k, Luong et al. 2015
    general = "general"  # q·M k / sqrt(K), Luong et al. 2015
    additive = "additive"  # v·tanh(q + k), the weighted sum of Bahdanau et al. 2015


class PositionKind(Enum):
    """How the model learns where a token stands."""

    sinusoidal = "sinusoidal"  # fixed waves, added to the embeddings; any length (Vaswani et al. 2017)
    learned = "learned"  # a vector a position, added to source and target embeddings (Gehring et al. 2017)
    learned_per_layer = "learned_per_layer"  # the same for the input of each layer, which has its own
    rotary = "rotary"  # queries and keys of self-attention turned by their position (Su et al. 2021)
    relative_bias = "relative_bias"  # a learned number a distance, added to scores (T5, Raffel et al. 2020)
    alibi = "alibi"  # a penalty that grows with the distance (Press et al. 2022)
    none = "none"  # the encoder sees a set of tokens


class NormKind(Enum):
    """What keeps the vectors at one size."""

    layer = "layer"  # LayerNorm, Ba et al. 2016
    rms = "rms"  # RMSNorm, Zhang & Sennrich 2019


class NormPlacement(Enum):
    """Where a sub-layer normalises."""

    pre = "pre"  # its input (Xiong et al. 2020): trains without much care
    post = "post"  # the sum of input and output (Vaswani et al. 2017): wants a long warm-up


class FeedForwardKind(Enum):
    """What happens between the two linear maps of the position-wise network."""

    relu = "relu"  # Vaswani et al. 2017
    gelu = "gelu"  # Hendrycks & Gimpel 2016
    swiglu = "swiglu"  # a third linear map gates (Shazeer 2020): half as many parameters again


@dataclass(kw_only=True)
class AttentionConfig:
    """One of the places where a layer attends. Null takes what the model says for all of them."""

    score: ScoreKind = ScoreKind.scaled_dot
    """How much a query cares for a key: scaled_dot, dot, general or additive."""

    num_heads: int | None = None

    kv_heads: int | None = None
    """Heads of keys and values, each shared by several query heads (Ainslie et al. 2023); by default num_heads."""

    key_dim: int | None = None
    value_dim: int | None = None


@dataclass(kw_only=True)
class AttentionSites:
    """The three places where layers attend; each chooses for itself."""

    encoder_self: AttentionConfig = field(default_factory=AttentionConfig)
    decoder_self: AttentionConfig = field(default_factory=AttentionConfig)
    cross: AttentionConfig = field(default_factory=AttentionConfig)


@dataclass(kw_only=True)
class PointerConfig:
    """Copying of source tokens beside the vocabulary (pointer-generator, See et al. 2017)."""

    enabled: bool = False
    """Mix the vocabulary's distribution with one over the tokens of the source."""

    score: ScoreKind = ScoreKind.scaled_dot
    """How much the decoder's output cares for a source token as the next to copy, as for an attention site."""

    key_dim: int | None = None
    """Size of the pointer's query and keys; by default the width."""


@dataclass(frozen=True)
class AttentionShape:
    """An attention's sizes once every null is resolved."""

    num_heads: int
    kv_heads: int
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

    pointer: PointerConfig = field(default_factory=PointerConfig)
    """Copying of source tokens, off by default."""

    positions: PositionKind = PositionKind.sinusoidal
    """How tokens get their place: sinusoidal, learned, learned_per_layer, rotary, relative_bias, alibi or none."""

    max_positions: int = 1024
    """Longest sequence, padding included, that the learned kinds of positions can hold. Others know no limit."""

    norm: NormKind = NormKind.layer
    """layer or rms."""

    norm_placement: NormPlacement = NormPlacement.pre
    """pre or post."""

    feed_forward: FeedForwardKind = FeedForwardKind.relu
    """relu, gelu or swiglu."""

    dropout: float = 0.1
    """Probability of dropping an element of an embedding or of a sub-layer's output during training."""

    attention_dropout: float = 0.0
    """Probability of dropping an attention weight. Above zero the fused kernels for CPU are lost."""

    tie_embeddings: bool = True
    """Use one matrix for source embedding, target embedding and output projection (Press & Wolf 2017)."""

    @property
    def feed_forward_size(self) -> int:
        return self.feed_forward_dim if self.feed_forward_dim is not None else 4 * self.width

    @property
    def pointer_key_dim(self) -> int:
        return _first(self.pointer.key_dim, self.width)

    def attention_shape(self, site: AttentionConfig) -> AttentionShape:
        """Sizes of the attention at ``site``: its own, else the model's, else width / num_heads."""
        num_heads = _first(site.num_heads, self.num_heads)
        return AttentionShape(
            num_heads=num_heads,
            kv_heads=_first(site.kv_heads, num_heads),
            key_dim=_first(site.key_dim, self.key_dim, self.width // num_heads),
            value_dim=_first(site.value_dim, self.value_dim, self.width // num_heads),
        )

    def least_parameters(self, vocab_size: int) -> int:
        """At least so many parameters has a model of these sizes: its large matrices, known without building it."""
        width, sites = self.width, self.attention
        once, layers = vocab_size * width, self.encoder_layers + self.decoder_layers
        if self.positions in (PositionKind.learned, PositionKind.learned_per_layer):
            once += self.max_positions * width
        if self.pointer.enabled:
            once += self.pointer_key_dim * width
        attended = {
            site: width * (shape.num_heads * (shape.key_dim + shape.value_dim) + shape.kv_heads * shape.key_dim)
            for site, shape in ((name, self.attention_shape(getattr(sites, name))) for name in _SITES)
        }
        in_encoder = self.encoder_layers * attended["encoder_self"]
        in_decoder = self.decoder_layers * (attended["decoder_self"] + attended["cross"])
        return once + in_encoder + in_decoder + layers * 2 * width * self.feed_forward_size

    def require_positions(self, length: int, what: str) -> None:
        """Raise UserError if sequences of ``length``, because of the setting ``what``, are longer than can be told."""
        is_limited = self.positions in (PositionKind.learned, PositionKind.learned_per_layer)
        if is_limited and length > self.max_positions:
            raise UserError(
                f"{what} needs {length} positions and model.max_positions ({self.max_positions}) learns fewer: "
                f"try model.max_positions={length}, or positions without a limit such as model.positions=sinusoidal"
            )

    def validate(self) -> None:
        """Raise UserError for a value that no model can have."""
        for name in ("width", "num_heads"):
            _require_size(f"model.{name}", getattr(self, name))
        for name in ("encoder_layers", "decoder_layers"):
            _require_size(f"model.{name}", getattr(self, name), _MOST_LAYERS)
        if self.width % 2:
            raise UserError(f"model.width ({self.width}) must be even: sines fill one half, cosines the other")
        _require_size("model.max_positions", self.max_positions)
        _require_size("model.feed_forward_dim", self.feed_forward_size, 4 * _LARGEST_SIZE)
        _require_size("model.pointer.key_dim", self.pointer_key_dim)
        for name in _SITES:
            self._validate_site(name, getattr(self.attention, name))
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name} ({getattr(self, name)}) must be at least 0 and below 1")

    def _validate_site(self, name: str, site: AttentionConfig) -> None:
        heads_key = "model.num_heads" if site.num_heads is None else f"model.attention.{name}.num_heads"
        num_heads = _first(site.num_heads, self.num_heads)
        _require_size(heads_key, num_heads)
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
            where = f"model.{key}" if getattr(site, key) is None else f"model.attention.{name}.{key}"
            _require_size(where, getattr(shape, key))
        if shape.kv_heads < 1 or num_heads % shape.kv_heads:
            divisors = [heads for heads in range(1, num_heads + 1) if num_heads % heads == 0]
            nearest = min(divisors, key=lambda heads: abs(heads - shape.kv_heads))
            raise UserError(
                f"model.attention.{name}.kv_heads ({shape.kv_heads}) must divide {heads_key} ({num_heads}): "
                f"try model.attention.{name}.kv_heads={nearest}"
            )
        if self.positions is PositionKind.rotary and name != "cross" and shape.key_dim % 2:
            raise UserError(
                f"rotary positions turn pairs, so the key size of {name} ({shape.key_dim}) must be even: "
                f"try model.attention.{name}.key_dim={shape.key_dim + 1}"
            )


def _require_size(name: str, value: int, most: int = _LARGEST_SIZE) -> None:
    if value < 1:
        raise UserError(f"{name} ({value}) must be at least 1")
    if value > most:
        raise UserError(f"{name} ({value}) must be at most {most:,}")


def _first(*choices: int | None) -> int:
    """The first that is not null."""
    return next(choice for choice in choices if choice is not None)
