"""Linear layers that train on a CPU faster than PyTorch's do.

In float32, PyTorch multiplies with Intel's MKL, which leaves a tenth of an AMD processor's speed unused. oneDNN, which
PyTorch has too, writes its kernels for the processor it finds. In bfloat16 it is oneDNN in any case, and faster if the
bias is added within the product. N rows, I inputs and O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """torch.nn.Linear with the same parameters, and but for rounding the same outputs and gradients."""

    def forward(self, input: Tensor) -> Tensor:
        return _linear(input, [self.weight], [self.bias])


def projected_at_once(input: Tensor, linears: Sequence[nn.Linear]) -> tuple[Tensor, ...]:
    """What each of ``linears`` makes of one input: a single large product is faster than several, both ways."""
    outputs = _linear(input, [linear.weight for linear in linears], [linear.bias for linear in linears])
    return torch.split(outputs, [linear.out_features for linear in linears], dim=-1)


def _linear(input: Tensor, weights_OI: Sequence[Tensor], biases_O: Sequence[Tensor]) -> Tensor:
    """``input @ weight.T + bias`` over the last dimension, the outputs of all weights side by side."""
    dtype = _faster_type(input, weights_OI[0])
    if dtype is None:
        return F.linear(input, _together(weights_OI), _together(biases_O))
    output_NO: Tensor = _OneDnnLinear.apply(  # type: ignore[no-untyped-call]
        input.reshape(-1, input.shape[-1]), dtype, *weights_OI, *biases_O
    )
    return output_NO.view(*input.shape[:-1], -1)


class _OneDnnLinear(torch.autograd.Function):
    """Products by oneDNN in one type of numbers; outputs are of that type, gradients of their own."""

    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, dtype: torch.dtype, *weights_and_biases: Tensor) -> Tensor:
        half = len(weights_and_biases) // 2
        weights, biases = weights_and_biases[:half], weights_and_biases[half:]
        weight_OI, bias_O = (_together([each.to(dtype) for each in several]) for several in (weights, biases))
        low_input_NI = input_NI.to(dtype)
        ctx.input_type, ctx.weight_type = input_NI.dtype, weights[0].dtype
        ctx.outputs = [len(weight) for weight in weights]
        ctx.save_for_backward(low_input_NI, weight_OI)
        return _product(low_input_NI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        input_NI, weight_OI = ctx.saved_tensors
        of_input, _, *of_parameters = ctx.needs_input_grad
        half = len(of_parameters) // 2
        grad_input = _product(grad_NO, weight_OI.t(), None).to(ctx.input_type) if of_input else None
        of_weights = of_biases = cast("tuple[Tensor | None, ...]", (None,) * half)
        if any(of_parameters[:half]):  # no faster by oneDNN in float32, and left to MKL
            of_weights = torch.split(grad_NO.t() @ input_NI, ctx.outputs)
        if any(of_parameters[half:]):
            of_biases = torch.split(_sum(grad_NO), ctx.outputs)
        gradients = (each if each is None else each.to(ctx.weight_type) for each in (*of_weights, *of_biases))
        return grad_input, None, *gradients


def _product(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    output_NO: Tensor = torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, "none", [], "")
    return output_NO


def _sum(grad_NO: Tensor) -> Tensor:
    """sum_O. In low precision a product with ones is faster."""
    if grad_NO.dtype is torch.float32:
        return grad_NO.sum(dim=0)
    return (grad_NO.new_ones(1, len(grad_NO)) @ grad_NO).squeeze(0)


def _together(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _faster_type(input: Tensor, weight_OI: Tensor) -> torch.dtype | None:
    """In what oneDNN multiplies these faster than PyTorch would, and None if it does not."""
    if (
        not torch.is_grad_enabled()
        or any(each.device.type != "cpu" for each in (input, weight_OI))
        or weight_OI.dtype is not torch.float32
        or torch.compiler.is_compiling()
        or input.numel() == 0
        or not _has_onednn()
    ):
        return None
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        is_low = low is torch.bfloat16 and input.dtype in (torch.float32, torch.bfloat16)
        return low if is_low and torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return torch.float32 if input.dtype is torch.float32 and _is_amd() else None


@cache
def _has_onednn() -> bool:
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _is_amd() -> bool:
    """Whether this is a processor for which that was measured."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
