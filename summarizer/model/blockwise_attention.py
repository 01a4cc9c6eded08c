"""Dot-product attention that trains in bfloat16 on a CPU faster than PyTorch's fused kernel does.

That kernel multiplies tiles too small for a processor's bfloat16 instructions. Here whole heads are multiplied at once,
as many as leave their weights in the processor's cache; the weights of a block are computed again by the backward pass,
so that no more than one block of them ever exists. Scores are rounded to bfloat16 before the softmax, which itself is
computed in float32: that is what autocast does where nothing is fused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from summarizer.model.masks import causal_mask

_BLOCK_ELEMENTS = 2**20  # of weights at once: 2 MiB, as much as a core's cache
_MOST_CAUSAL_ELEMENTS = 2**20  # of one head's weights, of which the fused kernel never computes what is masked

_Place = tuple[int, slice]  # of a block: which example, which heads


def is_faster_in_blocks(query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor, *, causal: bool) -> bool:
    """Whether :func:`attend_in_blocks` is the one to train with."""
    return (
        torch.is_grad_enabled()
        and query_BHTK.device.type == "cpu"
        and all(tensor.dtype is torch.bfloat16 for tensor in (query_BHTK, key_BHSK, value_BHSU))
        and not (causal and query_BHTK.shape[2] * key_BHSK.shape[2] > _MOST_CAUSAL_ELEMENTS)
        and not torch.compiler.is_compiling()
    )


def attend_in_blocks(
    query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor, *, mask_BTS: Tensor | None, causal: bool
) -> Tensor:
    """mixed_BHTU, laid out in memory as (B, T, H, U), for that is how heads are joined.

    :param query_BHTK: multiplied by the scale of the scores.
    :param mask_BTS: True where a query may attend; one that may attend to nothing gets zeros. Excludes ``causal``.
    """
    if causal:
        mask_BTS = causal_mask(query_BHTK.shape[2], query_BHTK.device)[None]
    bias_BTS, is_blind_BT1 = None, None
    if mask_BTS is not None:
        mask_BTS = mask_BTS.expand(len(query_BHTK), -1, -1)
        bias_BTS = torch.zeros(mask_BTS.shape, dtype=query_BHTK.dtype).masked_fill_(~mask_BTS, float("-inf"))
        is_blind_BT1 = ~mask_BTS.any(dim=-1, keepdim=True)
    mixed_BHTU: Tensor = _Blockwise.apply(  # type: ignore[no-untyped-call]
        query_BHTK, key_BHSK, value_BHSU, bias_BTS, is_blind_BT1
    )
    return mixed_BHTU


class _Blockwise(torch.autograd.Function):
    """Attention, block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        query_BHTK: Tensor,
        key_BHSK: Tensor,
        value_BHSU: Tensor,
        bias_BTS: Tensor | None,
        is_blind_BT1: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(query_BHTK, key_BHSK, value_BHSU, bias_BTS, is_blind_BT1)
        mixed_BHTU = _empty(query_BHTK, value_BHSU.shape[-1])
        with torch.autocast("cpu", enabled=False):  # it would take the softmax to float32 in passes of its own
            for at, weights_HTS in _weights(query_BHTK, key_BHSK, bias_BTS, is_blind_BT1):
                mixed_BHTU[at] = weights_HTS @ value_BHSU[at]
        return mixed_BHTU

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTU: Tensor) -> tuple[Tensor | None, ...]:
        query_BHTK, key_BHSK, value_BHSU, bias_BTS, is_blind_BT1 = ctx.saved_tensors
        grad_query_BHTK, grad_key_BHSK, grad_value_BHSU = (
            _empty(tensor, tensor.shape[-1]) for tensor in (query_BHTK, key_BHSK, value_BHSU)
        )
        for at, weights_HTS in _weights(query_BHTK, key_BHSK, bias_BTS, is_blind_BT1):
            grad_HTU = grad_BHTU[at]
            grad_value_BHSU[at] = weights_HTS.transpose(1, 2) @ grad_HTU
            grad_weights_HTS = grad_HTU @ _transposed(value_BHSU[at])
            grad_scores_HTS = torch._softmax_backward_data(grad_weights_HTS, weights_HTS, -1, weights_HTS.dtype)
            grad_query_BHTK[at] = grad_scores_HTS @ key_BHSK[at]
            grad_key_BHSK[at] = grad_scores_HTS.transpose(1, 2) @ query_BHTK[at]
        return grad_query_BHTK, grad_key_BHSK, grad_value_BHSU, None, None


def _weights(
    query_BHTK: Tensor, key_BHSK: Tensor, bias_BTS: Tensor | None, is_blind_BT1: Tensor | None
) -> Iterator[tuple[_Place, Tensor]]:
    """weights_HTS of one block after the other, each of some heads of one example."""
    batch, num_heads, targets = query_BHTK.shape[:3]
    heads = max(1, min(num_heads, _BLOCK_ELEMENTS // max(1, targets * key_BHSK.shape[2])))
    has_blind = is_blind_BT1 is not None and bool(is_blind_BT1.any())
    for example in range(batch):
        for first in range(0, num_heads, heads):
            at = (example, slice(first, first + heads))
            query_HTK, key_HKS = query_BHTK[at], _transposed(key_BHSK[at])
            if bias_BTS is None:
                weights_HTS = torch.bmm(query_HTK, key_HKS).softmax(dim=-1)
            else:
                weights_HTS = torch.baddbmm(bias_BTS[example], query_HTK, key_HKS).softmax(dim=-1)
            if has_blind:
                assert is_blind_BT1 is not None
                weights_HTS.masked_fill_(is_blind_BT1[example], 0)  # the softmax of nothing is not a number
            yield at, weights_HTS


def _transposed(tensor_HSK: Tensor) -> Tensor:
    """tensor_HKS. PyTorch would copy one column after the other if the heads were not copied whole before."""
    return tensor_HSK.contiguous().transpose(1, 2)


def _empty(tensor_BHTK: Tensor, size: int) -> Tensor:
    """Heads as :func:`attend_in_blocks` lays them out, each with vectors of ``size``."""
    batch, num_heads, length, _ = tensor_BHTK.shape
    return tensor_BHTK.new_empty(batch, length, num_heads, size).transpose(1, 2)
