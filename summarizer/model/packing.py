"""A trained model in, its twin for inference on a CPU out: the same weights, laid out as a processor reads them.

N rows to multiply, I and O the inputs and outputs of a linear layer.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model.feed_forward import FeedForward

Module = TypeVar("Module", bound=nn.Module)

_BLOCK_ELEMENTS = 2**20  # of integer products at once: what fits a CPU's cache
_LARGEST_INT8 = 127


def packed(model: Module, dtype: torch.dtype = torch.float32) -> Module:
    """``model`` with every linear layer packed, in evaluation mode. What is not a linear layer is shared with it.

    The twin follows no later change of the linear layers' weights, and cannot be trained or saved.

    :param dtype: what linear layers multiply in: float32, bfloat16 or int8. All else stays in float32.
    """
    return _twin(model, _LINEAR[dtype]).eval()


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has what :func:`packed` needs."""
    if dtype is torch.int8:
        return hasattr(torch, "_int_mm")
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


class PackedLinear(nn.Module):
    """A linear layer in the format of oneDNN, which is chosen for the processor: float32 in, float32 out.

    :param relu: whether to apply ReLU to the outputs while they are at hand.
    """

    dtype = torch.float32

    def __init__(self, linear: nn.Linear, *, relu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.activation = "relu" if relu else "none"
        self.bias_O = None if linear.bias is None else linear.bias.detach().to(self.dtype)
        self.weight_OI = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(self.dtype), None)

    def forward(self, input_NI: Tensor) -> Tensor:
        output_NO: Tensor = torch.ops.mkldnn._linear_pointwise(
            input_NI.to(self.dtype), self.weight_OI, self.bias_O, self.activation, [], ""
        )
        return output_NO.float()


class Bfloat16Linear(PackedLinear):
    """The same, multiplying in bfloat16 and adding up in float32."""

    dtype = torch.bfloat16


class Int8Linear(nn.Module):
    """A linear layer on integers of 8 bits: rows of weights and of inputs are each scaled to -127 .. 127.

    Inputs are scaled row by row, and not as one, because no row's output may depend on what is beside it.

    :param relu: whether to apply ReLU to the outputs while they are at hand.
    """

    def __init__(self, linear: nn.Linear, *, relu: bool = False) -> None:
        super().__init__()
        self.relu = relu
        weight_OI, scale_O1 = _quantized(linear.weight.detach())
        self.weight_IO, self.scale_O = weight_OI.t(), scale_O1.squeeze(1)
        self.bias_O = torch.zeros_like(self.scale_O) if linear.bias is None else linear.bias.detach()
        self.block_rows = max(1, _BLOCK_ELEMENTS // linear.out_features)

    def forward(self, input_NI: Tensor) -> Tensor:
        blocks = [self._outputs(block_NI) for block_NI in torch.split(input_NI.flatten(0, -2), self.block_rows)]
        output_NO = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return output_NO.view(*input_NI.shape[:-1], -1)

    def _outputs(self, input_NI: Tensor) -> Tensor:
        integer_NI, scale_N1 = _quantized(input_NI)
        product_NO = torch._int_mm(integer_NI, self.weight_IO).float().mul_(scale_N1)
        output_NO = torch.addcmul(self.bias_O, product_NO, self.scale_O)
        return output_NO.relu_() if self.relu else output_NO


_LINEAR: dict[torch.dtype, type[PackedLinear] | type[Int8Linear]] = {
    torch.float32: PackedLinear,
    torch.bfloat16: Bfloat16Linear,
    torch.int8: Int8Linear,
}


def _quantized(matrix_RI: Tensor) -> tuple[Tensor, Tensor]:
    """Integers, and scale_R1 by which each row is to be multiplied to get the matrix back."""
    largest_R1 = matrix_RI.abs().amax(dim=1, keepdim=True)
    scale_R1 = largest_R1.clamp_min_(torch.finfo(torch.float32).tiny).mul_(1 / _LARGEST_INT8)
    return matrix_RI.div(scale_R1).round_().to(torch.int8), scale_R1


def _twin(module: Module, linear_type: type[PackedLinear] | type[Int8Linear]) -> Module:
    """A copy of the tree of modules, with the parameters and buffers of the original."""
    twin = copy.copy(module)
    with_relu = isinstance(module, FeedForward) and module.activation is F.relu
    twin._modules = {}
    for name, child in module._modules.items():
        if isinstance(child, nn.Linear):
            twin._modules[name] = linear_type(child, relu=with_relu and name == "widen")
        else:
            twin._modules[name] = None if child is None else _twin(child, linear_type)
    if isinstance(twin, FeedForward) and with_relu:
        twin.activation = _unchanged
    return twin


def _unchanged(activated_BTF: Tensor) -> Tensor:
    return activated_BTF
