"""The size and shape of a Transformer, as a config dataclass."""

import math
from dataclasses import dataclass

from summarizer.errors import UserError


@dataclass(kw_only=True)
class TransformerConfig:
    """Everything that determines the model's weights but for the vocabulary."""

    width: int = 256
    """Size of the vectors between the layers."""

    num_heads: int = 4
    """Attention heads in each attention of each layer."""

    encoder_layers: int = 4
    decoder_layers: int = 4

    feed_forward_dim: int | None = None
    """Hidden size of the position-wise network; by default four times the width."""

    key_dim: int | None = None
    """Size of one head's queries and keys; by default width / num_heads."""

    value_dim: int | None = None
    """Size of one head's values; by default width / num_heads."""

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
    def key_size(self) -> int:
        return self.key_dim if self.key_dim is not None else self.width // self.num_heads

    @property
    def value_size(self) -> int:
        return self.value_dim if self.value_dim is not None else self.width // self.num_heads

    def validate(self) -> None:
        """Raise UserError for a value that no model can have."""
        for name in ("width", "num_heads", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} ({getattr(self, name)}) must be at least 1")
        if self.width % 2:
            raise UserError(f"model.width ({self.width}) must be even: sines fill one half, cosines the other")
        if None in (self.key_dim, self.value_dim) and self.width % self.num_heads:
            even_multiple = math.lcm(2, self.num_heads)
            nearest = max(1, round(self.width / even_multiple)) * even_multiple
            raise UserError(
                f"model.width ({self.width}) must be divisible by model.num_heads ({self.num_heads}): "
                f"try model.width={nearest}, or set model.key_dim and model.value_dim"
            )
        for name in ("feed_forward_size", "key_size", "value_size"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name.replace('size', 'dim')} ({getattr(self, name)}) must be at least 1")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name} ({getattr(self, name)}) must be at least 0 and below 1")
