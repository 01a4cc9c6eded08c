"""Tensors in, the bytes of a safetensors file out, without a second copy of them in memory.

The package's own writer makes two copies, holds Python's lock meanwhile, and its errors carry no errno.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

# Widest first, as the format wants for aligned reading. The names are the format's.
_TYPE_NAMES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ORDER = {dtype: place for place, dtype in enumerate(_TYPE_NAMES)}


def tensor_file(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    """The parts of the file, in order: its header, then each tensor's own memory.

    :param tensors: contiguous, on the CPU.
    """
    header: dict[str, dict[str, object]] = {}
    parts: list[bytes | memoryview] = []
    end = 0
    for name in sorted(tensors, key=lambda name: (_ORDER[tensors[name].dtype], name)):
        tensor = tensors[name]
        assert tensor.is_contiguous(), name
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        parts.append(tensor.detach().reshape(-1).view(torch.uint8).numpy().data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *parts]
