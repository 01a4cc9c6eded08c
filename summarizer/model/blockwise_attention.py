"""Dot-product attention that trains in bfloat16 on a CPU faster than PyTorch's fused kernel does.

That kernel multiplies tiles too small for a processor's bfloat16 instructions. Here whole heads are multiplied at once,
as many as leave their weights in the processor's cache. Scores are rounded to bfloat16 before the softmax, which itself
is computed in float32: that is what autocast does where nothing is fused. Short documents keep their weights for the
backward pass; long ones, whose weights would fill the memory, compute them again.

N and M: rows of queries and of keys, those of all documents one after the other. T and S are a document's.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from summarizer.model.masks import causal_mask
from summarizer.model.unpadded import Rows, places

_BLOCK_ELEMENTS = 2**20  # of weights at once: 2 MiB, as much as a core's cache
_MOST_CAUSAL_ELEMENTS = 2**20  # of one head's weights, of which the fused kernel never computes what is masked
_MOST_KEPT = 2.5  # weights for each element of queries, keys and values, which are kept in any case


class _Rule(NamedTuple):
    """What the queries of a document may not see, and which of them see nothing; None where that is nothing."""

    bias_TS: Tensor | None = None  # minus infinity where a query may not attend, zero elsewhere
    is_blind_T1: Tensor | None = None


class _Block(NamedTuple):
    """Some heads of one document."""

    queries: tuple[slice, slice]  # heads, rows
    keys: tuple[slice, slice]
    document: int


def is_faster_in_blocks(
    query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor, *, causal: bool, longest: int
) -> bool:
    """Whether :func:`attend_in_blocks` is the one to train with, ``longest`` being the most queries of a document."""
    return (
        torch.is_grad_enabled()
        and query_BHTK.device.type == "cpu"
        and all(tensor.dtype is torch.bfloat16 for tensor in (query_BHTK, key_BHSK, value_BHSU))
        and not (causal and longest**2 > _MOST_CAUSAL_ELEMENTS)
        and not torch.compiler.is_compiling()
    )


def attend_in_blocks(
    query_BHTK: Tensor,
    key_BHSK: Tensor,
    value_BHSU: Tensor,
    *,
    scale: float,
    mask_BTS: Tensor | None,
    causal: bool,
    documents: tuple[Rows, Rows] | None = None,
) -> Tensor:
    """mixed_BHTU.

    :param scale: what multiplies the product of a query and a key.
    :param mask_BTS: True where a query may attend; one that may attend to nothing gets zeros. Excludes ``causal``.
    :param documents: that are joined in B = 1 row of queries and one of keys, each attending to its own.
    """
    batch, length = len(query_BHTK), query_BHTK.shape[2]
    targets, sources = [length] * batch, [key_BHSK.shape[2]] * batch
    if documents is not None:
        targets, sources = (list(rows.lengths) for rows in documents)
    rules = [_Rule()] * len(targets)
    if causal:
        rule_of = {T: _rule(causal_mask(T, query_BHTK.device), query_BHTK.dtype) for T in set(targets)}
        rules = [rule_of[T] for T in targets]
    elif mask_BTS is not None:
        rules = [_rule(mask_TS, query_BHTK.dtype) for mask_TS in mask_BTS.expand(batch, length, sources[0])]
    mixed_HNU: Tensor = _Blockwise.apply(  # type: ignore[no-untyped-call]
        *(tensor.transpose(0, 1).flatten(1, 2) for tensor in (query_BHTK, key_BHSK, value_BHSU)),
        scale,
        targets,
        sources,
        *chain.from_iterable(rules),
    )
    return mixed_HNU.view(len(mixed_HNU), batch, length, -1).transpose(0, 1)


def _rule(mask_TS: Tensor, dtype: torch.dtype) -> _Rule:
    bias_TS = torch.zeros(mask_TS.shape, dtype=dtype).masked_fill_(~mask_TS, float("-inf"))
    is_blind_T1 = ~mask_TS.any(dim=-1, keepdim=True)
    return _Rule(bias_TS, is_blind_T1 if bool(is_blind_T1.any()) else None)


class _Blockwise(torch.autograd.Function):
    """Attention, block by block. Heads come first in memory, so that products read and write whole matrices."""

    @staticmethod
    def forward(
        ctx: Any,
        query_HNK: Tensor,
        key_HMK: Tensor,
        value_HMU: Tensor,
        scale: float,
        targets: Sequence[int],
        sources: Sequence[int],
        *rules: Tensor | None,
    ) -> Tensor:
        query_HNK = _heads_first(query_HNK).copy_(query_HNK).mul_(scale)  # faster than all of it in one pass
        key_HMK, value_HMU = (_heads_first(tensor).copy_(tensor) for tensor in (key_HMK, value_HMU))
        mixed_HNU = _heads_first(query_HNK, value_HMU.shape[-1])
        blocks = list(_blocks(len(query_HNK), targets, sources))
        num_weights = len(query_HNK) * sum(map(operator.mul, targets, sources))
        is_kept = num_weights <= _MOST_KEPT * (query_HNK.numel() + key_HMK.numel() + value_HMU.numel())
        kept: list[Tensor] = []
        with torch.autocast("cpu", enabled=False):  # it would take the softmax to float32 in passes of its own
            for block in blocks:
                weights_HTS = _weights(query_HNK, key_HMK, block, rules)
                torch.bmm(weights_HTS, value_HMU[block.keys], out=mixed_HNU[block.queries])
                kept += [weights_HTS] if is_kept else []
        ctx.scale, ctx.blocks, ctx.is_kept = scale, blocks, is_kept
        ctx.save_for_backward(query_HNK, key_HMK, value_HMU, *(kept if is_kept else rules))
        return mixed_HNU

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_HNU: Tensor) -> tuple[Tensor | None, ...]:
        query_HNK, key_HMK, value_HMU, *others = ctx.saved_tensors
        grad_HNU = _heads_first(grad_HNU).copy_(grad_HNU)
        grad_query_HNK, grad_key_HMK, grad_value_HMU = map(torch.empty_like, (query_HNK, key_HMK, value_HMU))
        for place, block in enumerate(ctx.blocks):
            queries, keys, _ = block
            weights_HTS = others[place] if ctx.is_kept else _weights(query_HNK, key_HMK, block, others)
            grad_HTU = grad_HNU[queries]
            torch.bmm(weights_HTS.transpose(1, 2), grad_HTU, out=grad_value_HMU[keys])
            grad_weights_HTS = torch.bmm(grad_HTU, _transposed(value_HMU[keys]))
            grad_scores_HTS = torch._softmax_backward_data(grad_weights_HTS, weights_HTS, -1, weights_HTS.dtype)
            torch.bmm(grad_scores_HTS, key_HMK[keys], out=grad_query_HNK[queries])
            torch.bmm(grad_scores_HTS.transpose(1, 2), query_HNK[queries], out=grad_key_HMK[keys])
        gradients = (grad_query_HNK.mul_(ctx.scale), grad_key_HMK, grad_value_HMU)
        return (*gradients, *(None for _ in ctx.needs_input_grad[len(gradients) :]))


def _blocks(num_heads: int, targets: Sequence[int], sources: Sequence[int]) -> Iterator[_Block]:
    """All heads of all documents, in blocks of like size."""
    for document, (queries, keys) in enumerate(places(targets, sources)):
        num_weights = targets[document] * sources[document]
        parts = min(num_heads, -(-num_heads * num_weights // _BLOCK_ELEMENTS))
        size = -(-num_heads // max(1, parts))
        for head in range(0, num_heads, size):
            heads = slice(head, head + size)
            yield _Block((heads, queries), (heads, keys), document)


def _weights(query_HNK: Tensor, key_HMK: Tensor, block: _Block, rules: Sequence[Tensor | None]) -> Tensor:
    """weights_HTS of a block. The products are with scaled queries."""
    query_HTK, key_HKS = query_HNK[block.queries], _transposed(key_HMK[block.keys])
    bias_TS, is_blind_T1 = rules[2 * block.document : 2 * block.document + 2]
    if bias_TS is None:
        weights_HTS = torch.bmm(query_HTK, key_HKS).softmax(dim=-1)
    else:
        weights_HTS = torch.baddbmm(bias_TS, query_HTK, key_HKS).softmax(dim=-1)
    # The softmax of nothing is not a number.
    return weights_HTS if is_blind_T1 is None else weights_HTS.masked_fill_(is_blind_T1, 0)


def _transposed(tensor_HSK: Tensor) -> Tensor:
    """tensor_HKS. PyTorch would copy one column after the other if the heads were not copied whole before."""
    return tensor_HSK.contiguous().transpose(1, 2)


def _heads_first(tensor_HNK: Tensor, size: int | None = None) -> Tensor:
    """Memory for such a tensor, laid out in the order of its dimensions, with vectors of ``size`` if they differ."""
    num_heads, rows, key_dim = tensor_HNK.shape
    return tensor_HNK.new_empty(num_heads, rows, key_dim if size is None else size)
