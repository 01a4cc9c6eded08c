"""A linear layer that trains in float32 on AMD's processors faster than PyTorch's does.

PyTorch multiplies with Intel's MKL there, which leaves a tenth of their speed unused. oneDNN, which PyTorch has too,
writes its kernels for the processor it finds. N rows, I inputs and O outputs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """torch.nn.Linear with the same parameters, and but for rounding the same outputs and gradients."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(input: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """``input @ weight.T + bias`` over the last dimension."""
    if not _is_faster_by_onednn(input, weight_OI):
        return F.linear(input, weight_OI, bias_O)
    output_NO: Tensor = _OneDnnLinear.apply(  # type: ignore[no-untyped-call]
        input.reshape(-1, input.shape[-1]), weight_OI, bias_O
    )
    return output_NO.view(*input.shape[:-1], -1)


class _OneDnnLinear(torch.autograd.Function):
    """Products with the weights by oneDNN. The gradient of the weights is no faster there, and left to MKL."""

    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
        ctx.save_for_backward(input_NI, weight_OI)
        return _product(input_NI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input_NI, weight_OI = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad
        return (
            _product(grad_NO, weight_OI.t(), None) if of_input else None,
            grad_NO.t() @ input_NI if of_weight else None,
            grad_NO.sum(dim=0) if of_bias else None,
        )


def _product(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    output_NO: Tensor = torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, "none", [], "")
    return output_NO


def _is_faster_by_onednn(input: Tensor, weight_OI: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and all(each.device.type == "cpu" and each.dtype is torch.float32 for each in (input, weight_OI))
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and input.numel() > 0
        and _is_amd()
    )


@cache
def _is_amd() -> bool:
    """Whether this is a processor for which that was measured, and a PyTorch that has oneDNN."""
    try:
        is_amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return is_amd and hasattr(torch.ops.mkldnn, "_linear_pointwise")
