"""Position encodings: how a Transformer, to which a sequence is a set, learns where its tokens stand.

They enter in one of three places, and each class here says in which. ``InputPositions`` are vectors added to the
embeddings (or, per layer, to what enters a layer). ``AttentionPositions`` act inside self-attention: they turn queries
and keys, or add a bias to their scores. Cross-attention relates two different sequences and has none.

Where sequences start is a number, or a tensor with that one number where only the device knows it (static decoding).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from summarizer.model.config import PositionKind
from summarizer.model.unpadded import Rows


class InputPositions(nn.Module):
    """What is added to vectors before they enter the layers, or one of them; this base class adds nothing."""

    def added_to(self, hidden_BTD: Tensor, start: int | Tensor, length: int, rows: Rows | None = None) -> Tensor:
        """``hidden_BTD`` with the encoding of positions ``start`` .. ``start + length - 1`` in it.

        With ``length`` 1, all of its T vectors stand at ``start``. With ``rows``, which are joined in it, each of
        them begins at ``start``, and ``length`` is that of the longest.
        """
        return hidden_BTD

    def reserve(self, length: int) -> None:
        """Be ready for so many positions, before they start where a tensor says."""


class PositionVectors(InputPositions):
    """One vector a position, ``self(start, length)`` being encoding_TD."""

    def added_to(self, hidden_BTD: Tensor, start: int | Tensor, length: int, rows: Rows | None = None) -> Tensor:
        encoding_TD = self(start, length)
        with_positions_BTD: Tensor = hidden_BTD + (encoding_TD if rows is None else rows.joined(encoding_TD[None]))
        return with_positions_BTD


class SinusoidalPositions(PositionVectors):
    """Sines and cosines of geometrically spaced wavelengths from 2π to 10000·2π (Vaswani et al. 2017, 3.5).

    There is nothing to learn and no longest length. Sines fill the first half of the vector, cosines the second.

    :param width: size D of the encoding; even.
    """

    table_SD: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table_SD", sinusoids(512, width), persistent=False)

    def forward(self, start: int | Tensor, length: int) -> Tensor:
        if isinstance(start, int):
            self.reserve(start + length)
        return _rows(self.table_SD, start, length)

    def reserve(self, length: int) -> None:
        if length > len(self.table_SD):
            rows = 2 ** math.ceil(math.log2(length))
            self.table_SD = sinusoids(rows, self.width).to(self.table_SD)


class LearnedPositions(PositionVectors):
    """One learned vector a position (Gehring et al. 2017), for the first ``max_positions`` and no more."""

    def __init__(self, width: int, max_positions: int) -> None:
        super().__init__()
        self.table_SD = nn.Parameter(torch.randn(max_positions, width) / math.sqrt(2))

    def forward(self, start: int | Tensor, length: int) -> Tensor:
        if isinstance(start, int):
            self.reserve(start + length)
        return _rows(self.table_SD, start, length)

    def reserve(self, length: int) -> None:
        longest = len(self.table_SD)
        assert length <= longest, f"position {length} of {longest} learned ones"


class AttentionPositions(nn.Module):
    """What multi-head self-attention asks about positions; this base class has none to tell.

    ``start`` is the position of the first query or key given.
    """

    has_bias = False

    def rotated(self, vectors_BHTK: Tensor, start: int | Tensor, rows: Rows | None = None) -> Tensor:
        """Queries or keys, with their positions in them. With ``rows``, which are joined in one, each of those begins
        at ``start``."""
        return vectors_BHTK

    def bias(self, start: int | Tensor, num_queries: int, num_keys: int) -> Tensor | None:
        """bias_HTS to add to the scores of queries ``start`` .. and keys 0 .. ``num_keys - 1``."""
        return None


class RotaryPositions(AttentionPositions):
    """Turn pairs of elements by angles that grow with the position, so that the dot product of a query and a key
    depends on their distance alone (Su et al. 2021). Other scores see the angles, too, but not as a distance.

    The two elements of a pair stand half a vector apart. Wavelengths are those of the sinusoidal encoding.

    :param key_dim: size of one head's queries and keys; even.
    """

    rates_k: Tensor

    def __init__(self, key_dim: int) -> None:
        super().__init__()
        self.register_buffer("rates_k", wavelength_rates(key_dim // 2).float(), persistent=False)

    def rotated(self, vectors_BHTK: Tensor, start: int | Tensor, rows: Rows | None = None) -> Tensor:
        length = vectors_BHTK.shape[-2] if rows is None else rows.padded_length
        positions_T = torch.arange(length, device=vectors_BHTK.device, dtype=self.rates_k.dtype)
        if rows is not None:
            positions_T = rows.joined(positions_T[None])[0]
        positions_T = start + positions_T
        angles_Tk = positions_T[:, None] * self.rates_k
        cosine_Tk, sine_Tk = angles_Tk.cos().to(vectors_BHTK.dtype), angles_Tk.sin().to(vectors_BHTK.dtype)
        first_BHTk, second_BHTk = vectors_BHTK.chunk(2, dim=-1)
        return torch.cat(
            (
                first_BHTk * cosine_Tk - second_BHTk * sine_Tk,
                first_BHTk * sine_Tk + second_BHTk * cosine_Tk,
            ),
            dim=-1,
        )


class RelativeBias(AttentionPositions):
    """A learned number for each head and bucket of distances (Raffel et al. 2020, T5).

    Half of the buckets of a direction hold one distance each; the others widen geometrically up to
    ``max_distance``, and the last one holds all that is farther. Causal attention looks back only and uses all
    buckets for that; otherwise half of them are for what comes after.
    """

    has_bias = True

    def __init__(self, *, num_heads: int, causal: bool, num_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        self.causal = causal
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.table_HN = nn.Parameter(torch.zeros(num_heads, num_buckets))

    def bias(self, start: int | Tensor, num_queries: int, num_keys: int) -> Tensor:
        return self.table_HN[:, self._buckets(_distances(start, num_queries, num_keys, self.table_HN.device))]

    def _buckets(self, distance_TS: Tensor) -> Tensor:
        """The bucket of each distance, positive to what came before."""
        if self.causal:
            return self._one_way(distance_TS.clamp(min=0), self.num_buckets)
        half = self.num_buckets // 2
        return self._one_way(distance_TS.abs(), half) + half * (distance_TS < 0)

    def _one_way(self, distance_TS: Tensor, num_buckets: int) -> Tensor:
        exact = num_buckets // 2
        widening = math.log(self.max_distance / exact)
        growth_TS = (distance_TS.clamp(min=1) / exact).log() / widening * (num_buckets - exact)
        far_TS = (exact + growth_TS.floor().long()).clamp(max=num_buckets - 1)
        return torch.where(distance_TS < exact, distance_TS, far_TS)


class AlibiBias(AttentionPositions):
    """A penalty that grows with the distance, at a fixed slope a head (Press et al. 2022).

    The slopes are 2^(-8/H), 2^(-16/H), ... 2^-8: some heads see near, some far. Nothing is learned.
    """

    has_bias = True

    slopes_H: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        exponents_H = torch.arange(1, num_heads + 1) * (-8 / num_heads)
        self.register_buffer("slopes_H", torch.exp2(exponents_H), persistent=False)

    def bias(self, start: int | Tensor, num_queries: int, num_keys: int) -> Tensor:
        distance_TS = _distances(start, num_queries, num_keys, self.slopes_H.device).abs()
        return -self.slopes_H[:, None, None] * distance_TS


def _rows(table_SD: Tensor, start: int | Tensor, length: int) -> Tensor:
    if isinstance(start, int):
        return table_SD[start : start + length]
    return table_SD.index_select(0, start + torch.arange(length, device=table_SD.device))


def _distances(start: int | Tensor, num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """distance_TS from each query back to each key; negative where the key comes after."""
    query_T = start + torch.arange(num_queries, device=device)
    return query_T[:, None] - torch.arange(num_keys, device=device)


def wavelength_rates(count: int) -> Tensor:
    """Radians a position, from 1 down towards 1 / 10000, in float64."""
    return torch.exp(torch.arange(count, dtype=torch.float64) * (-math.log(10_000) / count))


def sinusoids(length: int, width: int) -> Tensor:
    """table_SD of the first ``length`` positions, computed in float64 and returned in float32."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * wavelength_rates(width // 2)
    return torch.cat((angles.sin(), angles.cos()), dim=1).float()


def embedding_positions(kind: PositionKind, *, width: int, max_positions: int) -> InputPositions:
    """What is added to the embeddings."""
    match kind:
        case PositionKind.sinusoidal:
            return SinusoidalPositions(width)
        case PositionKind.learned:
            return LearnedPositions(width, max_positions)
        case _:
            return InputPositions()


def layer_positions(kind: PositionKind, *, width: int, max_positions: int) -> InputPositions:
    """What is added to the input of each layer."""
    if kind is PositionKind.learned_per_layer:
        return LearnedPositions(width, max_positions)
    return InputPositions()


def attention_positions(kind: PositionKind, *, num_heads: int, key_dim: int, causal: bool) -> AttentionPositions:
    """What acts inside each self-attention."""
    match kind:
        case PositionKind.rotary:
            return RotaryPositions(key_dim)
        case PositionKind.relative_bias:
            return RelativeBias(num_heads=num_heads, causal=causal)
        case PositionKind.alibi:
            return AlibiBias(num_heads)
        case _:
            return AttentionPositions()
