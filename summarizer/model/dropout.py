"""Dropout (Srivastava et al. 2014) whose random numbers cost a CPU little."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEVELS = 1 << 16  # of 16 random bits
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # integers of so many bytes


class Dropout(nn.Module):
    """While training, sets each element to zero with probability ``p`` and scales the others so that means stay.

    A CPU's generator takes as long for a yes or no as for 64 bits, which are enough to decide about four elements. The
    probability is then a multiple of 2^-16, and the scale is that of the multiple. Other devices, and the compiler,
    have a fused kernel that draws numbers in passing.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p)
        output: Tensor = _Dropped.apply(input, max(1, round(self.p * _LEVELS)))  # type: ignore[no-untyped-call]
        return output

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Dropped(torch.autograd.Function):
    """Of every ``_LEVELS`` values that 16 bits can have, ``dropped_levels`` say that an element is dropped."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dropped_levels: int) -> Tensor:
        # Compared in place, for PyTorch is slow to write booleans.
        keep = _random_int16(input.numel()).gt_(dropped_levels - 1 - _LEVELS // 2).to(torch.bool)
        ctx.scale = _LEVELS / max(1, _LEVELS - dropped_levels)
        ctx.save_for_backward(keep.view(input.shape))
        return _kept(input, keep.view(input.shape), ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _kept(grad_output, keep, ctx.scale), None


def _kept(tensor: Tensor, keep: Tensor, scale: float) -> Tensor:
    """Zero where ``keep`` is False, by the bits: that is several times as fast as ``torch.where``."""
    bits = _BITS[tensor.element_size()]
    mask = keep.to(bits).neg_()  # all ones, or none
    return mask.bitwise_and_(tensor.view(bits)).view(tensor.dtype).mul_(scale)


def _random_int16(count: int) -> Tensor:
    """From PyTorch's generator of this thread's CPU, four of each of its numbers."""
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.int16)[:count]
