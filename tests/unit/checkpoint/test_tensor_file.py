"""Our writer of safetensors files writes what the package's own would."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import Tensor

from summarizer.checkpoint.tensor_file import tensor_file

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.int32, torch.float32,
    torch.int64, torch.float64,
)  # fmt: skip


def mixed() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 5), (), (2, 0), (7,)]
    return {
        f'{name}{place}é"/{index}': torch.randint(0, 2, shape, generator=generator).to(dtype)
        for place, shape in enumerate(shapes)
        for index, dtype in enumerate(DTYPES)
        for name in ("b", "a")
    }


@pytest.mark.parametrize("tensors", [{}, {"one": torch.tensor(1.5), "a": torch.ones(2, 3)}], ids=["none", "two"])
def test_the_bytes_are_those_of_the_package(tensors: dict[str, Tensor]) -> None:
    assert b"".join(tensor_file(tensors)) == safetensors.torch.save(tensors)


def test_the_package_reads_every_type_and_shape() -> None:
    tensors = mixed()
    loaded = safetensors.torch.load(b"".join(tensor_file(tensors)))
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype is tensor.dtype
        assert torch.equal(loaded[name], tensor), name


def test_the_tensors_are_not_copied() -> None:
    tensor = torch.zeros(4)
    parts = tensor_file({"a": tensor})
    tensor.fill_(1.0)
    assert bytes(parts[1]) == torch.ones(4).numpy().tobytes()
