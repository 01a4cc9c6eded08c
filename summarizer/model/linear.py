"""Linear layers that train on a CPU in less time and memory than PyTorch's do.

Weights that are multiplied at once are not kept joined, ReLU is applied to the product in place, and gradients of
biases are products too. In float32, PyTorch multiplies with Intel's MKL, which leaves a tenth of an AMD processor's
speed unused. oneDNN, which PyTorch has too, writes its kernels for the processor it finds. In bfloat16 it is oneDNN in
any case, and faster if the bias is added, and ReLU applied, within the product. N rows, I inputs and O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_T = TypeVar("_T")
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
    dtype = _type_to_train_in(input, weights_OI[0])
    if dtype is None:
        output = F.linear(input, _together(weights_OI), _together(biases_O))
        return F.relu(output) if relu else output
    output_NO: Tensor = _TrainedLinear.apply(  # type: ignore[no-untyped-call]
        input.reshape(-1, input.shape[-1]), dtype, relu, *weights_OI, *biases_O
    )
    return output_NO.view(*input.shape[:-1], -1)


class _TrainedLinear(torch.autograd.Function):
    """Products in one type of numbers; outputs are of that type, gradients of their own."""

    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, dtype: torch.dtype, relu: bool, *weights_and_biases: Tensor) -> Tensor:
        half = len(weights_and_biases) // 2
        weights, biases = ([each.to(dtype) for each in several] for several in _halves(weights_and_biases))
        low_input_NI = input_NI.to(dtype)
        output_NO = _product(low_input_NI, _together(weights), _together(biases), relu=relu)
        ctx.input_type, ctx.weight_type, ctx.num_weights = input_NI.dtype, weights_and_biases[0].dtype, half
        ctx.save_for_backward(low_input_NI, *weights, *([output_NO] if relu else []))
        return output_NO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        input_NI, *others = ctx.saved_tensors
        weights, rectified_NO = others[: ctx.num_weights], others[ctx.num_weights :]
        of_input, _, _, *of_parameters = ctx.needs_input_grad
        of_weights, of_biases = _halves(of_parameters)
        if rectified_NO:
            grad_NO = torch.ops.aten.threshold_backward(grad_NO, rectified_NO[0], 0)
        grad_input = _product(grad_NO, _together(weights).t()).to(ctx.input_type) if of_input else None
        grad_weights = grad_biases = cast("tuple[Tensor | None, ...]", (None,) * ctx.num_weights)
        outputs = [len(weight) for weight in weights]
        if any(of_weights):
            grad_weights = torch.split(_weight_gradient(grad_NO, input_NI), outputs)
        if any(of_biases):  # faster so than by a sum
            grad_biases = torch.split((grad_NO.new_ones(1, len(grad_NO)) @ grad_NO).squeeze(0), outputs)
        gradients = (each if each is None else each.to(ctx.weight_type) for each in (*grad_weights, *grad_biases))
        return grad_input, None, None, *gradients


def _product(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, *, relu: bool = False) -> Tensor:
    if input_NI.dtype is not torch.float32 or _is_amd():
        return _product_by_onednn(input_NI, weight_OI, bias_O, "relu" if relu else "none")
    output_NO = F.linear(input_NI, weight_OI, bias_O)
    return output_NO.relu_() if relu else output_NO


def _product_by_onednn(
    input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, activation: str = "none"
) -> Tensor:
    output_NO: Tensor = torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, activation, [], "")
    return output_NO


def _weight_gradient(grad_NO: Tensor, input_NI: Tensor) -> Tensor:
    """grad_OI. oneDNN copies the first factor, for it has to be contiguous once transposed; in float32 that pays where
    it is the smaller one by far. In bfloat16 the plain product is oneDNN's."""
    outputs, inputs = grad_NO.shape[1], input_NI.shape[1]
    if grad_NO.dtype is torch.float32 and _is_amd():
        if inputs >= _WORTH_TRANSPOSING * outputs:
            return _product_by_onednn(grad_NO.t(), input_NI.t())
        if outputs >= _WORTH_TRANSPOSING * inputs:
            return _product_by_onednn(input_NI.t(), grad_NO.t()).t().contiguous()
    return grad_NO.t() @ input_NI


def _halves(sequence: Sequence[_T]) -> tuple[Sequence[_T], Sequence[_T]]:
    middle = len(sequence) // 2
    return sequence[:middle], sequence[middle:]


def _together(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _type_to_train_in(input: Tensor, weight_OI: Tensor) -> torch.dtype | None:
    """Of the products; None where PyTorch's own layer is to be taken."""
    if (
        not torch.is_grad_enabled()
        or any(each.device.type != "cpu" for each in (input, weight_OI))
        or weight_OI.dtype is not torch.float32
        or torch.compiler.is_compiling()
        or input.numel() == 0
    ):
        return None
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        is_low = low is torch.bfloat16 and input.dtype in (torch.float32, torch.bfloat16)
        return low if is_low and _has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return torch.float32 if input.dtype is torch.float32 else None


@cache
def _has_onednn() -> bool:
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _is_amd() -> bool:
    """Whether this is a processor for which oneDNN was measured to be faster in float32, and it is there."""
    try:
        return _has_onednn() and "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
