"""Attention over several heads: queries, keys and values in, mixed values out (Vaswani et al. 2017).

How much a query cares for a key is up to a score function, to which positions may add. Dot products run on PyTorch's
fused kernels; the explicit path, which others take, gives the same numbers and the weights too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model.blockwise_attention import attend_in_blocks, is_faster_in_blocks
from summarizer.model.config import AttentionShape
from summarizer.model.documentwise_attention import attend_by_document, can_attend_by_document
from summarizer.model.linear import Linear, projected_at_once
from summarizer.model.masks import causal_mask
from summarizer.model.positions import AttentionPositions
from summarizer.model.scoring import DotProductScore, ScoreFunction
from summarizer.model.segments import Segments, attend_by_segments, can_attend_by_segments
from summarizer.model.unpadded import Rows


class KeysValues(NamedTuple):
    """What one attention layer looks at, already split into heads (G of them, each shared by H / G query heads)."""

    key_BGSK: Tensor
    value_BGSU: Tensor


class MultiHeadAttention(nn.Module):
    """Split into heads, score, softmax, mix, join. One head is the plain mechanism.

    A query that may attend to nothing gets zeros before the output projection, and sends zero gradients back.

    :param width: size D of the queries, of what is attended to, and of the output.
    :param score: built for this shape.
    :param positions: of self-attention; none by default.
    :param dropout: probability of dropping an attention weight during training.
    """

    def __init__(
        self,
        *,
        width: int,
        shape: AttentionShape,
        score: ScoreFunction,
        positions: AttentionPositions | None = None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.kv_heads = shape.kv_heads
        self.dropout = dropout
        self.score = score
        self.positions = AttentionPositions() if positions is None else positions
        self.query = Linear(width, shape.num_heads * shape.key_dim)
        self.key = Linear(width, shape.kv_heads * shape.key_dim)
        self.value = Linear(width, shape.kv_heads * shape.value_dim)
        self.output = Linear(shape.num_heads * shape.value_dim, width)

    def forward(
        self,
        query_BTD: Tensor,
        source_BSD: Tensor,
        *,
        mask_BTS: Tensor | None = None,
        causal: bool = False,
        segments: Segments | None = None,
        documents: tuple[Rows, Rows] | None = None,
    ) -> Tensor:
        """Let every query attend to ``source_BSD``.

        :param mask_BTS: bool, True where a query may attend; any shape that broadcasts to (B, T, S).
        :param causal: the queries are the source, and none may look ahead. Excludes ``mask_BTS``.
        :param segments: what ``mask_BTS`` says of real positions, for a faster kernel where it does. Queries that are
            padding get something else from it.
        :param documents: where those are of which B = 1 row of queries and one of sources consist, each query attending
            to its own document. Excludes ``mask_BTS``.
        """
        query_BTX, key_BSX, value_BSX = self._projected(query_BTD, source_BSD)
        if documents is not None:
            mixed_1HTU = self._mixed_by_document(query_BTX, key_BSX, value_BSX, causal, *documents)
            return self._joined(mixed_1HTU)
        keys_values = self._as_keys_values(key_BSX, value_BSX, 0)
        bias_HTS = self.positions.bias(0, query_BTD.shape[1], source_BSD.shape[1])
        return self._joined(
            self._mixed(self._as_queries(query_BTX, 0), keys_values, mask_BTS, causal, bias_HTS, segments)
        )

    def keys_values(self, source_BSD: Tensor, *, start: int | Tensor = 0) -> KeysValues:
        """Of a source whose first token stands at position ``start``."""
        return self._as_keys_values(self.key(source_BSD), self.value(source_BSD), start)

    def attend(
        self,
        query_BTD: Tensor,
        keys_values: KeysValues,
        *,
        mask_BTS: Tensor | None = None,
        causal: bool = False,
        segments: Segments | None = None,
    ) -> Tensor:
        """The rest of :meth:`forward`, for keys and values that are at hand: output_BTD."""
        bias_HTS = self.positions.bias(0, query_BTD.shape[1], keys_values.key_BGSK.shape[2])
        return self._joined(self._mixed(self._queries(query_BTD), keys_values, mask_BTS, causal, bias_HTS, segments))

    def attend_to_histories(
        self, query_BWD: Tensor, history: KeysValues, *, step: int | Tensor, mask_BWS: Tensor | None
    ) -> Tensor:
        """One step of causal self-attention: output_BWD of the beams of a document, all at position ``step``.

        :param history: what all beams wrote up to that position, and maybe room beyond it that the mask hides; S is
            T * W, beams side by side at each position.
        :param mask_BWS: which of it belongs to each beam's history; None with a single beam.
        """
        batch, num_beams = query_BWD.shape[:2]
        query_NH1K = self._queries(query_BWD.flatten(0, 1)[:, None], step)
        query_BHWK = query_NH1K.view(batch, num_beams, self.num_heads, -1).transpose(1, 2)
        bias_HWS = self.positions.bias(step, 1, history.key_BGSK.shape[2] // num_beams)
        if bias_HWS is not None:
            bias_HWS = bias_HWS.repeat_interleave(num_beams, dim=-1)
        return self._joined(self._mixed(query_BHWK, history, mask_BWS, False, bias_HWS))

    def _projected(self, query_BTD: Tensor, source_BSD: Tensor) -> tuple[Tensor, ...]:
        """query_BTX, key_BSX, value_BSX: of both sides in training as few and large products as there can be."""
        if not self.training:
            return self.query(query_BTD), self.key(source_BSD), self.value(source_BSD)
        if query_BTD is source_BSD:
            return projected_at_once(query_BTD, (self.query, self.key, self.value))
        return self.query(query_BTD), *projected_at_once(source_BSD, (self.key, self.value))

    def _mixed_by_document(
        self, query_1NX: Tensor, key_1MX: Tensor, value_1MX: Tensor, causal: bool, targets: Rows, sources: Rows
    ) -> Tensor:
        """mixed_1HNU, document after document."""
        documents = (targets, sources)
        query_1HNK = self._as_queries(query_1NX, 0, targets)
        keys_values = self._as_keys_values(key_1MX, value_1MX, 0, sources)
        score, drops = self.score, self.training and self.dropout > 0
        if isinstance(score, DotProductScore) and not self.positions.has_bias and not drops:
            if is_faster_in_blocks(query_1HNK, *keys_values, causal=causal, longest=max(targets.lengths)):
                return self._attend_in_blocks(score, query_1HNK, keys_values, None, causal, documents)
            if can_attend_by_document(query_1HNK, *keys_values):
                transformed_1HNK = score.transform(query_1HNK)
                return attend_by_document(transformed_1HNK, *keys_values, documents, scale=score.scale, causal=causal)
        mixed = []
        for query_1HTK, key_1GSK, value_1GSU in zip(
            targets.split(query_1HNK), *map(sources.split, keys_values), strict=True
        ):
            bias_HTS = self.positions.bias(0, query_1HTK.shape[2], key_1GSK.shape[2])
            mixed.append(self._mixed(query_1HTK, KeysValues(key_1GSK, value_1GSU), None, causal, bias_HTS))
        return torch.cat(mixed, dim=2)

    def _joined(self, mixed_BHTU: Tensor) -> Tensor:
        """output_BTD."""
        output_BTD: Tensor = self.output(mixed_BHTU.transpose(1, 2).flatten(2))
        return output_BTD

    def _mixed(
        self,
        query_BHTK: Tensor,
        keys_values: KeysValues,
        mask_BTS: Tensor | None,
        causal: bool,
        bias_HTS: Tensor | None,
        segments: Segments | None = None,
    ) -> Tensor:
        """mixed_BHTU: what each head makes of the values."""
        if isinstance(self.score, DotProductScore):
            if bias_HTS is not None or (self.training and self.dropout):
                segments = None  # whose kernel knows neither
            return self._attend_fused(self.score, query_BHTK, keys_values, mask_BTS, causal, bias_HTS, segments)
        weights_BHTS = self._share_out(query_BHTK, keys_values.key_BGSK, mask_BTS, causal, bias_HTS)
        weights_BHTS = F.dropout(weights_BHTS, self.dropout, self.training)
        value_BHSU = self._for_every_head(keys_values.value_BGSU)
        return weights_BHTS.to(value_BHSU.dtype) @ value_BHSU

    def weights(
        self,
        query_BTD: Tensor,
        source_BSD: Tensor,
        *,
        mask_BTS: Tensor | None = None,
        causal: bool = False,
        segments: Segments | None = None,
        documents: tuple[Rows, Rows] | None = None,
    ) -> Tensor:
        """weights_BHTS: how each query shares its attention out. Rows sum to one, or to zero if all is masked.

        Takes what :meth:`forward` takes; the mask says all, and documents are not taken apart.
        """
        assert documents is None
        key_BGSK = self.keys_values(source_BSD).key_BGSK
        bias_HTS = self.positions.bias(0, query_BTD.shape[1], source_BSD.shape[1])
        return self._share_out(self._queries(query_BTD), key_BGSK, mask_BTS, causal, bias_HTS)

    def _queries(self, query_BTD: Tensor, start: int | Tensor = 0) -> Tensor:
        return self._as_queries(self.query(query_BTD), start)

    def _as_queries(self, query_BTX: Tensor, start: int | Tensor, rows: Rows | None = None) -> Tensor:
        return self.positions.rotated(self._split_heads(query_BTX, self.num_heads), start, rows)

    def _as_keys_values(
        self, key_BSX: Tensor, value_BSX: Tensor, start: int | Tensor, rows: Rows | None = None
    ) -> KeysValues:
        key_BGSK = self.positions.rotated(self._split_heads(key_BSX, self.kv_heads), start, rows)
        return KeysValues(key_BGSK, self._split_heads(value_BSX, self.kv_heads))

    def _attend_fused(
        self,
        score: DotProductScore,
        query_BHTK: Tensor,
        keys_values: KeysValues,
        mask_BTS: Tensor | None,
        causal: bool,
        bias_HTS: Tensor | None,
        segments: Segments | None,
    ) -> Tensor:
        """mixed_BHTU without the weights."""
        key_BGSK, value_BGSU = keys_values
        if segments is not None and can_attend_by_segments(query_BHTK, key_BGSK, value_BGSU):
            key_BHSK, value_BHSU = self._for_every_head(key_BGSK), self._for_every_head(value_BGSU)
            return attend_by_segments(score.transform(query_BHTK), key_BHSK, value_BHSU, segments, scale=score.scale)
        if (
            bias_HTS is None
            and (self.dropout == 0 or not self.training)
            and is_faster_in_blocks(query_BHTK, key_BGSK, value_BGSU, causal=causal, longest=query_BHTK.shape[2])
        ):
            return self._attend_in_blocks(score, query_BHTK, keys_values, mask_BTS, causal)
        mask = None if mask_BTS is None else mask_BTS.unsqueeze(-3)
        if bias_HTS is not None:
            allowed = causal_mask(key_BGSK.shape[-2], bias_HTS.device) if causal else mask
            mask, causal = _as_bias(bias_HTS.to(query_BHTK.dtype), allowed), False
        mixed_BHTU = F.scaled_dot_product_attention(
            score.transform(query_BHTK),
            key_BGSK,
            value_BGSU,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
            scale=score.scale,
            enable_gqa=self.kv_heads != self.num_heads,
        )
        if bias_HTS is None or mask_BTS is None:
            return mixed_BHTU
        return mixed_BHTU * mask_BTS.any(dim=-1, keepdim=True).unsqueeze(-3)

    def _attend_in_blocks(
        self,
        score: DotProductScore,
        query_BHTK: Tensor,
        keys_values: KeysValues,
        mask_BTS: Tensor | None,
        causal: bool,
        documents: tuple[Rows, Rows] | None = None,
    ) -> Tensor:
        """mixed_BHTU."""
        return attend_in_blocks(
            score.transform(query_BHTK),
            *map(self._for_every_head, keys_values),
            scale=score.scale,
            mask_BTS=mask_BTS,
            causal=causal,
            documents=documents,
        )

    def _share_out(
        self,
        query_BHTK: Tensor,
        key_BGSK: Tensor,
        mask_BTS: Tensor | None,
        causal: bool,
        bias_HTS: Tensor | None,
    ) -> Tensor:
        """weights_BHTS, float32 at least."""
        scores_BHTS: Tensor = self.score(query_BHTK, self._for_every_head(key_BGSK))
        if bias_HTS is not None:
            scores_BHTS = scores_BHTS + bias_HTS
        if causal:
            mask_BTS = causal_mask(scores_BHTS.shape[-1], scores_BHTS.device)
        return masked_softmax(scores_BHTS, None if mask_BTS is None else mask_BTS.unsqueeze(-3))

    def _split_heads(self, joined_BSX: Tensor, num_heads: int) -> Tensor:
        batch, length = joined_BSX.shape[:2]
        return joined_BSX.view(batch, length, num_heads, -1).transpose(1, 2)

    def _for_every_head(self, tensor_BGSK: Tensor) -> Tensor:
        """Repeat keys or values for the query heads that share them (Ainslie et al. 2023)."""
        if self.kv_heads == self.num_heads:
            return tensor_BGSK
        return tensor_BGSK.repeat_interleave(self.num_heads // self.kv_heads, dim=1)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last dimension among the positions where ``mask`` is True; all zeros where none is.

    Half-precision scores give weights in float32, for a thousand small weights do not sum to one otherwise.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return scores.softmax(dim=-1)
    return _as_bias(scores, mask).softmax(dim=-1) * mask


def _as_bias(scores: Tensor, mask: Tensor | None) -> Tensor:
    """``scores`` where ``mask`` is True. The lowest finite number stands for "never" elsewhere, because minus
    infinity in a whole row would make its gradient NaN."""
    return scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
