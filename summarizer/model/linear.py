"""Linear layers that train on a CPU faster than PyTorch's do.

In float32, PyTorch multiplies with Intel's MKL, which leaves a tenth of an AMD processor's speed unused. oneDNN, which
PyTorch has too, writes its kernels for the processor it finds. In bfloat16 it is oneDNN in any case, and faster if the
bias is added, and ReLU applied, within the product. N rows, I inputs and O outputs.
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

_WORTH_TRANSPOSING = 4  # times that one side of a weight is longer, from where a copy of the other has paid


class Linear(nn.Linear):
    """torch.nn.Linear with the same parameters, and but for rounding the same outputs and gradients."""

    def forward(self, input: Tensor) -> Tensor:
        return _linear(input, [self.weight], [self.bias])

    def rectified(self, input: Tensor) -> Tensor:
        """ReLU of the outputs, taken while they are at hand."""
        return _linear(input, [self.weight], [self.bias], relu=True)


def projected_at_once(input: Tensor, linears: Sequence[nn.Linear]) -> tuple[Tensor, ...]:
    """What each of ``linears`` makes of one input: a single large product is faster than several, both ways."""
    outputs = _linear(input, [linear.weight for linear in linears], [linear.bias for linear in linears])
    return torch.split(outputs, [linear.out_features for linear in linears], dim=-1)


def _linear(input: Tensor, weights_OI: Sequence[Tensor], biases_O: Sequence[Tensor], *, relu: bool = False) -> Tensor:
    """``input @ weight.T + bias`` over the last dimension, the outputs of all weights side by side."""
    dtype = _faster_type(input, weights_OI[0])
    if dtype is None:
        output = F.linear(input, _together(weights_OI), _together(biases_O))
        return F.relu(output) if relu else output
    output_NO: Tensor = _OneDnnLinear.apply(  # type: ignore[no-untyped-call]
        input.reshape(-1, input.shape[-1]), dtype, relu, *weights_OI, *biases_O
    )
    return output_NO.view(*input.shape[:-1], -1)


class _OneDnnLinear(torch.autograd.Function):
    """Products by oneDNN in one type of numbers; outputs are of that type, gradients of their own."""

    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, dtype: torch.dtype, relu: bool, *weights_and_biases: Tensor) -> Tensor:
        half = len(weights_and_biases) // 2
        weights, biases = weights_and_biases[:half], weights_and_biases[half:]
        weight_OI, bias_O = (_together([each.to(dtype) for each in several]) for several in (weights, biases))
        low_input_NI = input_NI.to(dtype)
        ctx.input_type, ctx.weight_type = input_NI.dtype, weights[0].dtype
        ctx.outputs = [len(weight) for weight in weights]
        output_NO = _product(low_input_NI, weight_OI, bias_O, "relu" if relu else "none")
        ctx.save_for_backward(low_input_NI, weight_OI, *([output_NO] if relu else []))
        return output_NO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        input_NI, weight_OI, *rectified_NO = ctx.saved_tensors
        of_input, _, _, *of_parameters = ctx.needs_input_grad
        half = len(of_parameters) // 2
        if rectified_NO:
            grad_NO = torch.ops.aten.threshold_backward(grad_NO, rectified_NO[0], 0)
        grad_input = _product(grad_NO, weight_OI.t(), None).to(ctx.input_type) if of_input else None
        of_weights = of_biases = cast("tuple[Tensor | None, ...]", (None,) * half)
        if any(of_parameters[:half]):
            of_weights = torch.split(_weight_gradient(grad_NO, input_NI), ctx.outputs)
        if any(of_parameters[half:]):  # faster so than by a sum
            of_biases = torch.split((grad_NO.new_ones(1, len(grad_NO)) @ grad_NO).squeeze(0), ctx.outputs)
        gradients = (each if each is None else each.to(ctx.weight_type) for each in (*of_weights, *of_biases))
        return grad_input, None, None, *gradients


def _product(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, activation: str = "none") -> Tensor:
    output_NO: Tensor = torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, activation, [], "")
    return output_NO


def _weight_gradient(grad_NO: Tensor, input_NI: Tensor) -> Tensor:
    """grad_OI. oneDNN copies the first factor, for it has to be contiguous once transposed; in float32 that pays where
    it is the smaller one by far. In bfloat16 the plain product is oneDNN's."""
    outputs, inputs = grad_NO.shape[1], input_NI.shape[1]
    if grad_NO.dtype is torch.float32 and inputs >= _WORTH_TRANSPOSING * outputs:
        return _product(grad_NO.t(), input_NI.t(), None)
    if grad_NO.dtype is torch.float32 and outputs >= _WORTH_TRANSPOSING * inputs:
        return _product(input_NI.t(), grad_NO.t(), None).t().contiguous()
    return grad_NO.t() @ input_NI


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
