"""Score functions: how much a query cares for a key. Queries and keys of every head in, scores_BHTS out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from summarizer.model.config import ScoreKind

_BLOCK_ELEMENTS = 2**20  # of tanh(q + k) at once: what fits a CPU's cache, and no device's memory is short of


class ScoreFunction(nn.Module):
    """What multi-head attention asks of a score function.

    ``first_gain`` is what the projections to queries and to keys start multiplied by: 1, unless scores would be too
    large.
    """

    first_gain = 1.0

    def forward(self, query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        """scores_BHTS."""
        raise AssertionError("a score function says how it scores")


class DotProductScore(ScoreFunction):
    """``scale * q·k``. With 1 / sqrt(K), as in Vaswani et al. 2017, a score of random vectors has a variance of one,
    whatever their size. With 1, as in Luong et al. 2015, it has one of K, and the softmax of such scores hardly learns:
    queries and keys should start smaller (T5, Raffel et al. 2020, does so with the queries alone).

    Every score of this family can be had from a fused kernel: it is the dot product of ``transform(q)`` and k.
    """

    def __init__(self, *, scale: float, first_gain: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.first_gain = first_gain

    def transform(self, query_BHTK: Tensor) -> Tensor:
        return query_BHTK

    def forward(self, query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        return self.scale * self.transform(query_BHTK) @ key_BHSK.transpose(-1, -2)


class BilinearScore(DotProductScore):
    """``q·M k / sqrt(K)`` with one matrix M a head, which starts as the identity ("general", Luong et al. 2015)."""

    def __init__(self, *, num_heads: int, key_dim: int) -> None:
        super().__init__(scale=1 / math.sqrt(key_dim))
        self.bilinear_HKK = nn.Parameter(torch.eye(key_dim).repeat(num_heads, 1, 1))

    def transform(self, query_BHTK: Tensor) -> Tensor:
        return query_BHTK @ self.bilinear_HKK


class AdditiveScore(ScoreFunction):
    """``v·tanh(q + k)`` with one vector v a head (Bahdanau et al. 2015, "weighted sum").

    q and k are already W·query and U·key, the projections of multi-head attention. The sums q + k of all pairs
    are K times as large as the scores; they exist for a block of queries at a time only.
    """

    def __init__(self, *, num_heads: int, key_dim: int) -> None:
        super().__init__()
        self.vector_HK = nn.Parameter(torch.randn(num_heads, key_dim) / math.sqrt(key_dim))

    def forward(self, query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        scores_BHTS: Tensor = _BlockwiseAdditive.apply(  # type: ignore[no-untyped-call]
            query_BHTK, key_BHSK, self.vector_HK.to(query_BHTK.dtype)
        )
        return scores_BHTS


class _BlockwiseAdditive(torch.autograd.Function):
    """scores = tanh(q + k)·v without keeping tanh(q + k): the backward pass computes it again, block by block."""

    @staticmethod
    def forward(ctx: Any, query_BHTK: Tensor, key_BHSK: Tensor, vector_HK: Tensor) -> Tensor:
        ctx.save_for_backward(query_BHTK, key_BHSK, vector_HK)
        vector_HK1 = vector_HK[:, :, None]
        blocks = [
            (_activations(query_BHtK, key_BHSK).flatten(2, 3) @ vector_HK1).view(*query_BHtK.shape[:3], -1)
            for query_BHtK in _blocks(query_BHTK, key_BHSK)
        ]
        return torch.cat(blocks, dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query_BHTK, key_BHSK, vector_HK = ctx.saved_tensors
        # Float32 at least: the key's and the vector's gradients are sums over all queries.
        precise = torch.promote_types(query_BHTK.dtype, torch.float32)
        grad_query_blocks: list[Tensor] = []
        grad_key_BHSK = torch.zeros_like(key_BHSK, dtype=precise)
        grad_vector_HK = torch.zeros_like(vector_HK, dtype=precise)
        start = 0
        for query_BHtK in _blocks(query_BHTK, key_BHSK):
            grad_BHtS = grad_BHTS[:, :, start : start + query_BHtK.shape[2]]
            start += query_BHtK.shape[2]
            activation_BHtSK = _activations(query_BHtK, key_BHSK)
            grad_vector_HK += (grad_BHtS[..., None, :] @ activation_BHtSK).sum(dim=(0, 2, 3)).to(precise)
            slope_BHtSK = activation_BHtSK.square_().neg_().add_(1).mul_(vector_HK[:, None, None])
            grad_query_blocks.append((grad_BHtS[..., None, :] @ slope_BHtSK).squeeze(-2))
            grad_key_BHSK += slope_BHtSK.mul_(grad_BHtS[..., None]).sum(dim=2, dtype=precise)
        return (
            torch.cat(grad_query_blocks, dim=2),
            grad_key_BHSK.to(key_BHSK.dtype),
            grad_vector_HK.to(vector_HK.dtype),
        )


def _activations(query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
    """tanh(q + k) of all pairs: (B, H, T, S, K)."""
    return (query_BHTK[:, :, :, None] + key_BHSK[:, :, None]).tanh_()


def _blocks(query_BHTK: Tensor, key_BHSK: Tensor) -> tuple[Tensor, ...]:
    """The queries, so many at a time that their activations stay small."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, key_BHSK.numel()))
    return torch.split(query_BHTK, rows, dim=2)


def build_score(kind: ScoreKind, *, num_heads: int, key_dim: int) -> ScoreFunction:
    """The score function called ``kind`` for heads with keys of size ``key_dim``."""
    match kind:
        case ScoreKind.scaled_dot:
            return DotProductScore(scale=1 / math.sqrt(key_dim))
        case ScoreKind.dot:
            return DotProductScore(scale=1.0, first_gain=key_dim**-0.25)
        case ScoreKind.general:
            return BilinearScore(num_heads=num_heads, key_dim=key_dim)
        case ScoreKind.additive:
            return AdditiveScore(num_heads=num_heads, key_dim=key_dim)
