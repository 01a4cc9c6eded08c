"""A stand-in for the kernel for segments: a loop that any device runs, which checks what it is given as CUDA would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from summarizer.model.segments import KERNELS, SegmentKernel


@contextmanager
def segment_loop() -> Iterator[list[int]]:
    """While active, a CPU has a kernel for segments. Gives a list that grows by one number, its queries, a call."""
    calls: list[int] = []

    def attend(
        query_NHK: Tensor, key_NHK: Tensor, value_NHU: Tensor, query_cuts_M: Tensor, key_cuts_M: Tensor, *longest: int
    ) -> Tensor:
        calls.append(len(query_NHK))
        for tensor, cuts_M, most in zip((query_NHK, key_NHK), (query_cuts_M, key_cuts_M), longest, strict=True):
            lengths = cuts_M.diff()
            assert cuts_M.dtype == torch.int32
            assert cuts_M[0] == 0
            assert cuts_M[-1] == len(tensor)
            assert lengths.min() >= 0
            assert lengths.max() <= most
        assert len(query_cuts_M) == len(key_cuts_M)
        assert query_NHK.shape[1] == key_NHK.shape[1] == value_NHU.shape[1]
        assert {tensor.stride(-1) for tensor in (query_NHK, key_NHK, value_NHU)} == {1}
        pieces = zip(
            query_NHK.tensor_split(query_cuts_M[1:-1].long()),
            key_NHK.tensor_split(key_cuts_M[1:-1].long()),
            value_NHU.tensor_split(key_cuts_M[1:-1].long()),
            strict=True,
        )
        return torch.cat([_mixed(*piece) for piece in pieces])

    kernel = SegmentKernel(attend, suits=lambda query, key, value: True, is_available=lambda device: True)
    with mock.patch.dict(KERNELS, cpu=kernel):
        yield calls


def _mixed(query_THK: Tensor, key_SHK: Tensor, value_SHU: Tensor) -> Tensor:
    if len(key_SHK) == 0:
        return query_THK.new_zeros(*query_THK.shape[:2], value_SHU.shape[-1])
    heads_first = (tensor.transpose(0, 1) for tensor in (query_THK, key_SHK, value_SHU))
    return F.scaled_dot_product_attention(*heads_first).transpose(0, 1)
