"""The encoder/decoder Transformer: source ids and previous target ids in, what predicts the next token out."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from summarizer.model.cache import DecoderCache, PointerCache
from summarizer.model.config import TransformerConfig
from summarizer.model.dropout import Dropout
from summarizer.model.initialization import initialize
from summarizer.model.layers import DecoderLayer, EncoderLayer
from summarizer.model.pointer import Copying, DistinctTokens, Pointer, mixed_log_probabilities
from summarizer.model.positions import embedding_positions
from summarizer.model.residual import build_stack_norm
from summarizer.model.scoring import build_score
from summarizer.model.segments import Segments
from summarizer.model.unpadded import Documents, Rows, longest

Layer = TypeVar("Layer", bound=nn.Module)


class DecoderOutput(NamedTuple):
    """What the decoder says of the token after each of its input tokens."""

    hidden_BTD: Tensor  # from which :meth:`Transformer.project` makes logits over the vocabulary
    copying: Copying | None  # to mix with them, if the model has a pointer


class Transformer(nn.Module):
    """Vaswani et al. 2017; by default with the normalisation before each sub-layer (Xiong et al. 2020).

    Masks are bool, True = may attend; None where nothing is padding. Ids of padding may be anything: no real position
    ever sees them. :func:`segments_of` source lengths may be given beside a mask that says the same, for speed.
    """

    def __init__(self, config: TransformerConfig, vocab_size: int, *, recompute: bool = False) -> None:
        """:param recompute: in training, keep what enters each layer and compute the rest again in the backward pass
        (Chen et al. 2016): less memory, more time."""
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.recompute = recompute
        self.source_embedding = nn.Embedding(vocab_size, config.width)
        self.target_embedding = nn.Embedding(vocab_size, config.width)
        self.positions = embedding_positions(config.positions, width=config.width, max_positions=config.max_positions)
        self.dropout = Dropout(config.dropout)
        self.encoder_layers = _stack(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = build_stack_norm(config.norm_placement, config.norm, config.width)
        self.decoder_layers = _stack(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = build_stack_norm(config.norm_placement, config.norm, config.width)
        self.vocabulary = nn.Linear(config.width, vocab_size, bias=False)
        self.pointer = _build_pointer(config)
        initialize(self, num_layers=max(config.encoder_layers, config.decoder_layers))
        if config.tie_embeddings:
            self.target_embedding.weight = self.source_embedding.weight
            self.vocabulary.weight = self.source_embedding.weight

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def load_weights(
        self, weights: Mapping[str, Tensor], copy: Callable[[Tensor, Tensor], object] = Tensor.copy_
    ) -> None:
        """Copy ``weights``, named as in ``named_parameters()``, into the model.

        :param copy: what puts the second tensor into the first, if this process may hold but a part of the first.

        Raises ValueError, before anything is copied, if names or shapes are not exactly the model's.
        """
        parameters = dict(self.named_parameters())
        given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        wanted = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        if given != wanted:
            first = min(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
            raise ValueError(
                f"the weights are not this model's: {first} is {given.get(first)} and should be {wanted.get(first)}"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                copy(parameter, weights[name])

    def forward(
        self,
        source_BS: Tensor,
        source_mask_BS: Tensor | None,
        decoder_input_BT: Tensor,
        segments: Segments | None = None,
        documents: Documents | None = None,
    ) -> DecoderOutput:
        """All target positions at once.

        :param documents: what the mask says, to compute nothing for padding, whose output is zero then.
        """
        if documents is None or torch.compiler.is_compiling():
            encoder_output_BSD = self.encode(source_BS, source_mask_BS, segments)
            return self.decode(decoder_input_BT, encoder_output_BSD, source_mask_BS, segments)
        source, target = documents
        encoder_output_1ND = self.encode(source.joined(source_BS), None, rows=source)
        output = self._decoded(target.joined(decoder_input_BT), encoder_output_1ND, None, documents=documents)
        hidden_BTD, embedded_BTD = map(target.padded, output)
        encoder_output_BSD = encoder_output_1ND if self.pointer is None else source.padded(encoder_output_1ND)
        return self._pointing(hidden_BTD, embedded_BTD, encoder_output_BSD, source_mask_BS)

    def encode(
        self,
        source_BS: Tensor,
        source_mask_BS: Tensor | None,
        segments: Segments | None = None,
        rows: Rows | None = None,
    ) -> Tensor:
        """encoder_output_BSD.

        :param rows: that are joined in ``source_BS``, and will be in the output; B is 1 then.
        """
        hidden_BSD = self._embed(self.source_embedding, source_BS, rows)
        for layer in self.encoder_layers:
            hidden_BSD = self._through(layer, hidden_BSD, source_mask_BS, segments, rows)
        encoder_output_BSD: Tensor = self.encoder_norm(hidden_BSD)
        return encoder_output_BSD

    def decode(
        self,
        decoder_input_BT: Tensor,
        encoder_output_BSD: Tensor,
        source_mask_BS: Tensor | None,
        segments: Segments | None = None,
    ) -> DecoderOutput:
        """All target positions at once."""
        crossing = None if segments is None else segments.queried_by(decoder_input_BT.shape[1])
        hidden_BTD, embedded_BTD = self._decoded(decoder_input_BT, encoder_output_BSD, source_mask_BS, crossing)
        return self._pointing(hidden_BTD, embedded_BTD, encoder_output_BSD, source_mask_BS)

    def project(self, decoder_output: Tensor) -> Tensor:
        """Logits over the vocabulary: the last dimension goes from D to V."""
        logits: Tensor = self.vocabulary(decoder_output)
        return logits

    def start_cache(
        self,
        source_BS: Tensor,
        encoder_output_BSD: Tensor,
        source_mask_BS: Tensor,
        *,
        num_beams: int,
        max_length: int,
    ) -> DecoderCache:
        """The cache with which :meth:`decode_step` can decode up to ``max_length`` positions of each beam."""
        cross = [layer.cross_attention.keys_values(encoder_output_BSD) for layer in self.decoder_layers]
        own = self.config.attention_shape(self.config.attention.decoder_self)
        cache = DecoderCache.empty(own, cross, source_mask_BS, num_beams=num_beams, max_length=max_length)
        if self.pointer is not None:
            tokens = DistinctTokens.of(source_BS)
            cache.pointer = PointerCache(encoder_output_BSD, self.pointer.keys(encoder_output_BSD), tokens)
        return cache

    def reserve_positions(self, length: int) -> None:
        """Be ready to decode so many positions where only the device knows at which one it is."""
        for positions in (self.positions, *(layer.positions for layer in self.decoder_layers)):
            positions.reserve(length)

    def decode_step(self, token_BW: Tensor, step: int | Tensor, cache: DecoderCache) -> Tensor:
        """logits_BWV of the token after ``token_BW``, which stands at target position ``step`` of each beam.

        A ``step`` that only the device knows, as a tensor, goes with a cache that knows it too: a static one.

        Writes the keys and values of that position into ``cache``. The logits of a model with a pointer are the
        logarithms of its mixed probabilities.
        """
        cache.extend()
        embedding_BWD = self.target_embedding(token_BW) * math.sqrt(self.config.width)
        embedded_BWD = self.positions.added_to(embedding_BWD, step, 1)
        hidden_BWD = embedded_BWD
        for layer, layer_cache in zip(self.decoder_layers, cache.layers, strict=True):
            hidden_BWD = layer.step(hidden_BWD, step, layer_cache, cache)
        hidden_BWD = self.decoder_norm(hidden_BWD)
        logits_BWV = self.project(hidden_BWD)
        if self.pointer is None:
            return logits_BWV
        assert cache.pointer is not None, "the cache was started by a model without a pointer"
        encoder_output_BSD, key_BSK, tokens = cache.pointer
        copying = self.pointer(hidden_BWD, embedded_BWD, encoder_output_BSD, key_BSK, cache.source_mask_BS)
        cache.copying = copying
        return mixed_log_probabilities(logits_BWV, copying, tokens)

    def _decoded(
        self,
        decoder_input_BT: Tensor,
        encoder_output_BSD: Tensor,
        source_mask_BS: Tensor | None,
        crossing: Segments | None = None,
        documents: Documents | None = None,
    ) -> tuple[Tensor, Tensor]:
        """hidden_BTD, and embedded_BTD from which it came."""
        rows = None if documents is None else documents.target
        embedded_BTD = self._embed(self.target_embedding, decoder_input_BT, rows)
        hidden_BTD = embedded_BTD
        for layer in self.decoder_layers:
            hidden_BTD = self._through(layer, hidden_BTD, encoder_output_BSD, source_mask_BS, crossing, documents)
        return self.decoder_norm(hidden_BTD), embedded_BTD

    def _pointing(
        self, hidden_BTD: Tensor, embedded_BTD: Tensor, encoder_output_BSD: Tensor, source_mask_BS: Tensor | None
    ) -> DecoderOutput:
        """``hidden_BTD``, and what the pointer says if there is one."""
        if self.pointer is None:
            return DecoderOutput(hidden_BTD, None)
        key_BSK = self.pointer.keys(encoder_output_BSD)
        return DecoderOutput(
            hidden_BTD, self.pointer(hidden_BTD, embedded_BTD, encoder_output_BSD, key_BSK, source_mask_BS)
        )

    def _through(self, layer: nn.Module, *inputs: object) -> Tensor:
        """The same numbers either way: what dropout draws is drawn again."""
        if self.recompute and self.training:
            output: Tensor = checkpoint(layer, *inputs, use_reentrant=False)
        else:
            output = layer(*inputs)
        return output

    def _embed(self, embedding: nn.Embedding, token_BT: Tensor, rows: Rows | None = None) -> Tensor:
        embedding_BTD = embedding(token_BT) * math.sqrt(self.config.width)
        with_positions_BTD = self.positions.added_to(embedding_BTD, 0, longest(token_BT, rows), rows)
        hidden_BTD: Tensor = self.dropout(with_positions_BTD)
        return hidden_BTD


def _stack(layers: Iterable[Layer]) -> Sequence[Layer]:
    """Layers that the module around them knows as its own, typed as what they are."""
    return cast("Sequence[Layer]", nn.ModuleList(layers))


def _build_pointer(config: TransformerConfig) -> Pointer | None:
    if not config.pointer.enabled:
        return None
    key_dim = config.pointer_key_dim
    score = build_score(config.pointer.score, num_heads=1, key_dim=key_dim)
    return Pointer(width=config.width, key_dim=key_dim, score=score)
