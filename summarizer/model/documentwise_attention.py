"""PyTorch's fused attention on a CPU, of documents whose rows are joined in one, in less memory than one call each.

The outputs of all documents are written side by side, where the next product reads them and the backward pass finds
them: nobody keeps or joins copies. N and M: rows of queries and of keys, T and S: a document's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from summarizer.model.unpadded import Rows, places

_KERNEL = "_scaled_dot_product_flash_attention_for_cpu"


def can_attend_by_document(query_1HNK: Tensor, key_1HMK: Tensor, value_1HMK: Tensor) -> bool:
    """Whether the fused kernel takes these: one size of keys and values, and one query head to each of them."""
    return (
        query_1HNK.device.type == "cpu"
        and query_1HNK.shape[1] == key_1HMK.shape[1]
        and query_1HNK.shape[3] == value_1HMK.shape[3]
        and not torch.compiler.is_compiling()
        and hasattr(torch.ops.aten, _KERNEL)
    )


def attend_by_document(
    query_1HNK: Tensor,
    key_1HMK: Tensor,
    value_1HMK: Tensor,
    documents: tuple[Rows, Rows],
    *,
    scale: float,
    causal: bool,
) -> Tensor:
    """mixed_1HNK.

    :param scale: what multiplies the product of a query and a key.
    :param documents: of the queries and of the keys, each attending to its own.
    """
    mixed_1NHK: Tensor = _ByDocument.apply(  # type: ignore[no-untyped-call]
        query_1HNK, key_1HMK, value_1HMK, scale, causal, *(rows.lengths for rows in documents)
    )
    return mixed_1NHK.transpose(1, 2)


class _ByDocument(torch.autograd.Function):
    """The kernel and its gradient, document after document."""

    @staticmethod
    def forward(
        ctx: Any,
        query_1HNK: Tensor,
        key_1HMK: Tensor,
        value_1HMK: Tensor,
        scale: float,
        causal: bool,
        targets: Sequence[int],
        sources: Sequence[int],
    ) -> Tensor:
        attend = getattr(torch.ops.aten, _KERNEL)
        mixed_1HNK = _heads_inside(query_1HNK)
        normalizers = []
        for queries, keys in places(targets, sources):
            mixed_1HTK, log_normalizer_1HT = attend(
                query_1HNK[:, :, queries], key_1HMK[:, :, keys], value_1HMK[:, :, keys], 0.0, causal, scale=scale
            )
            mixed_1HNK[:, :, queries] = mixed_1HTK
            normalizers.append(log_normalizer_1HT)
        mixed_1NHK = mixed_1HNK.transpose(1, 2)
        ctx.scale, ctx.causal, ctx.targets, ctx.sources = scale, causal, targets, sources
        ctx.save_for_backward(query_1HNK, key_1HMK, value_1HMK, mixed_1NHK, *normalizers)
        return mixed_1NHK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_1NHK: Tensor) -> tuple[Tensor | None, ...]:
        query_1HNK, key_1HMK, value_1HMK, mixed_1NHK, *normalizers = ctx.saved_tensors
        mixed_1HNK, grad_1HNK = mixed_1NHK.transpose(1, 2), grad_1NHK.transpose(1, 2)
        differentiate = getattr(torch.ops.aten, f"{_KERNEL}_backward")
        gradients = [_heads_inside(each) for each in (query_1HNK, key_1HMK, value_1HMK)]
        for (queries, keys), log_normalizer_1HT in zip(places(ctx.targets, ctx.sources), normalizers, strict=True):
            parts = differentiate(
                grad_1HNK[:, :, queries],
                query_1HNK[:, :, queries],
                key_1HMK[:, :, keys],
                value_1HMK[:, :, keys],
                mixed_1HNK[:, :, queries],
                log_normalizer_1HT,
                0.0,
                ctx.causal,
                scale=ctx.scale,
            )
            for gradient, place, part in zip(gradients, (queries, keys, keys), parts, strict=True):
                gradient[:, :, place] = part
        return (*gradients, None, None, None, None)


def _heads_inside(tensor_1HNK: Tensor) -> Tensor:
    """Memory for such a tensor, in which the heads of a position lie side by side."""
    batch, num_heads, rows, key_dim = tensor_1HNK.shape
    return tensor_1HNK.new_empty(batch, rows, num_heads, key_dim).transpose(1, 2)
