"""Attention of padded rows by a kernel for sequences of unlike length, which has no use for masks (CUDA only).

PyTorch's flash kernel (Dao 2023, https://arxiv.org/abs/2307.08691) takes no mask, but it takes one long sequence and
the places to cut it. No token moves for that: a padded row is cut in two, its real positions and its padding. Padding
then attends to padding, and nobody reads what comes of it.

Padding goes through all else as usual. To leave it out of the other layers too would spare as much of their work as
there is padding, 0.9% in planned batches of news, and would cost a gather and a scatter.

M cuts: two of each row and the end. N is B * T or B * S: rows laid end to end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)
_LARGEST_HEAD = 256
_FIRST_CAPABILITY = (8, 0)  # Ampere


class Segments(NamedTuple):
    """Where rows are cut: queries of segment i attend to the keys of segment i."""

    query_cuts_M: Tensor  # int32
    key_cuts_M: Tensor  # int32
    longest_query: int  # no segment is longer
    longest_key: int

    def queried_by(self, num_queries: int) -> Segments:
        """The same keys for rows of so many queries, all of which attend to what is real."""
        rows = len(self.key_cuts_M) // 2
        full_B = torch.full((rows,), num_queries, device=self.key_cuts_M.device)
        return Segments(_cuts(full_B, num_queries), self.key_cuts_M, num_queries, self.longest_key)


class SegmentKernel(NamedTuple):
    """What computes attention segment by segment on one kind of device."""

    # query_NHK, key_NHK, value_NHU and the fields of Segments in; mixed_NHU out. Scores are scaled by 1 / sqrt(K).
    attend: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]
    suits: Callable[[Tensor, Tensor, Tensor], bool]  # whether it takes these queries, keys and values
    is_available: Callable[[torch.device], bool]


def segments_of(lengths_B: Tensor, length: int) -> Segments | None:
    """Of rows padded to ``length``, whose queries are their keys; None where there is no kernel for them."""
    kernel = KERNELS.get(lengths_B.device.type)
    if kernel is None or not kernel.is_available(lengths_B.device):
        return None
    cuts_M = _cuts(lengths_B, length)
    return Segments(cuts_M, cuts_M, length, length)


def can_attend_by_segments(query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor) -> bool:
    return KERNELS[query_BHTK.device.type].suits(query_BHTK, key_BHSK, value_BHSU)


def attend_by_segments(
    query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor, segments: Segments, *, scale: float
) -> Tensor:
    """mixed_BHTU. Rows of padding are finite, and mean nothing.

    :param scale: what multiplies the product of a query and a key.
    """
    batch, num_heads, targets, key_dim = query_BHTK.shape
    own_scale = 1 / math.sqrt(key_dim)  # all that the kernel of PyTorch 2.10 knows
    if scale != own_scale:
        query_BHTK = query_BHTK * (scale / own_scale)
    rows = [tensor.transpose(1, 2).flatten(0, 1) for tensor in (query_BHTK, key_BHSK, value_BHSU)]
    mixed_NHU = KERNELS[query_BHTK.device.type].attend(rows[0], rows[1], rows[2], *segments)
    return mixed_NHU.view(batch, targets, num_heads, -1).transpose(1, 2)


def _cuts(lengths_B: Tensor, length: int) -> Tensor:
    """Each row's start and the end of what is real in it, then the end of all."""
    start_B = torch.arange(len(lengths_B), device=lengths_B.device) * length
    cuts_BC = torch.stack((start_B, start_B + lengths_B), dim=1)
    return torch.nn.functional.pad(cuts_BC.flatten(), (0, 1), value=len(lengths_B) * length).to(torch.int32)


def _flash(*arguments: Tensor | int) -> Tensor:
    # On a machine without CUDA nobody needs it, and importing it takes time.
    from torch.nn.attention.varlen import varlen_attn

    mixed_NHU: Tensor = varlen_attn(*arguments)  # type: ignore[arg-type, assignment]
    return mixed_NHU


def _suits_flash(query_BHTK: Tensor, key_BHSK: Tensor, value_BHSU: Tensor) -> bool:
    key_dim = query_BHTK.shape[-1]
    return (
        query_BHTK.dtype in _HALF
        and query_BHTK.dtype == key_BHSK.dtype == value_BHSU.dtype
        and key_dim == value_BHSU.shape[-1] <= _LARGEST_HEAD
        and key_dim % 8 == 0
    )


def _has_flash(device: torch.device) -> bool:
    """Whether the card has it, and nobody has switched it off (``runtime.flash_attention``)."""
    enabled: bool = torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    return enabled and torch.cuda.get_device_capability(device) >= _FIRST_CAPABILITY


KERNELS = {"cuda": SegmentKernel(_flash, _suits_flash, _has_flash)}  # by type of device
