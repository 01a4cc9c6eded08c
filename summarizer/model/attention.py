"""Attention over several heads: queries, keys and values in, mixed values out (Vaswani et al. 2017).

How much a query cares for a key is up to a score function. Dot products run on PyTorch's fused kernel; the explicit
path, which others take, gives the same numbers and the weights too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model.masks import causal_mask
from summarizer.model.scoring import DotProductScore, ScoreFunction


class KeysValues(NamedTuple):
    """What one attention layer looks at, already split into heads."""

    key_BHSK: Tensor
    value_BHSU: Tensor


class MultiHeadAttention(nn.Module):
    """Split into heads, score, softmax, mix, join. One head is the plain mechanism.

    A query that may attend to nothing gets zeros before the output projection, and sends zero gradients back.

    :param width: size D of the queries, of what is attended to, and of the output.
    :param key_dim: size of one head's queries and keys.
    :param value_dim: size of one head's values.
    :param score: built for these heads.
    :param dropout: probability of dropping an attention weight during training.
    """

    def __init__(
        self, *, width: int, num_heads: int, key_dim: int, value_dim: int, score: ScoreFunction, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.score = score
        self.query = nn.Linear(width, num_heads * key_dim)
        self.key = nn.Linear(width, num_heads * key_dim)
        self.value = nn.Linear(width, num_heads * value_dim)
        self.output = nn.Linear(num_heads * value_dim, width)

    def forward(
        self, query_BTD: Tensor, source_BSD: Tensor, *, mask_BTS: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Let every query attend to ``source_BSD``.

        :param mask_BTS: bool, True where a query may attend; any shape that broadcasts to (B, T, S).
        :param causal: the queries are the source, and none may look ahead. Excludes ``mask_BTS``.
        """
        return self.attend(query_BTD, self.keys_values(source_BSD), mask_BTS=mask_BTS, causal=causal)

    def keys_values(self, source_BSD: Tensor) -> KeysValues:
        return KeysValues(self._split_heads(self.key(source_BSD)), self._split_heads(self.value(source_BSD)))

    def attend(
        self,
        query_BTD: Tensor,
        keys_values: KeysValues,
        *,
        mask_BTS: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """The rest of :meth:`forward`, for keys and values that are at hand: output_BTD."""
        query_BHTK = self._split_heads(self.query(query_BTD))
        key_BHSK, value_BHSU = keys_values
        if isinstance(self.score, DotProductScore):
            mixed_BHTU = F.scaled_dot_product_attention(
                self.score.transform(query_BHTK),
                key_BHSK,
                value_BHSU,
                attn_mask=None if mask_BTS is None else mask_BTS.unsqueeze(-3),
                dropout_p=self.dropout if self.training else 0.0,
                is_causal=causal,
                scale=self.score.scale,
            )
        else:
            weights_BHTS = self._share_out(query_BHTK, key_BHSK, mask_BTS=mask_BTS, causal=causal)
            weights_BHTS = F.dropout(weights_BHTS, self.dropout, self.training)
            mixed_BHTU = weights_BHTS.to(value_BHSU.dtype) @ value_BHSU
        mixed_BTX = mixed_BHTU.transpose(1, 2).flatten(2)
        output_BTD: Tensor = self.output(mixed_BTX)
        return output_BTD

    def weights(
        self, query_BTD: Tensor, source_BSD: Tensor, *, mask_BTS: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """weights_BHTS: how each query shares its attention out. Rows sum to one, or to zero if all is masked."""
        query_BHTK = self._split_heads(self.query(query_BTD))
        key_BHSK = self._split_heads(self.key(source_BSD))
        return self._share_out(query_BHTK, key_BHSK, mask_BTS=mask_BTS, causal=causal)

    def _share_out(self, query_BHTK: Tensor, key_BHSK: Tensor, *, mask_BTS: Tensor | None, causal: bool) -> Tensor:
        """weights_BHTS, float32 at least."""
        scores_BHTS: Tensor = self.score(query_BHTK, key_BHSK)
        if causal:
            mask_BTS = causal_mask(scores_BHTS.shape[-1], scores_BHTS.device)
        return masked_softmax(scores_BHTS, None if mask_BTS is None else mask_BTS.unsqueeze(-3))

    def _split_heads(self, joined_BSX: Tensor) -> Tensor:
        batch, length = joined_BSX.shape[:2]
        return joined_BSX.view(batch, length, self.num_heads, -1).transpose(1, 2)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last dimension among the positions where ``mask`` is True; all zeros where none is.

    Half-precision scores give weights in float32, for a thousand small weights do not sum to one otherwise.
    The lowest finite number stands for "never", because -inf in a whole row would make its gradient NaN.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return scores.softmax(dim=-1)
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(dim=-1) * mask
