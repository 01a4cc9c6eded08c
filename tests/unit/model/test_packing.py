"""Twins for inference against the models they were made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.config import FeedForwardKind, PointerConfig
from summarizer.model.masks import length_mask
from summarizer.model.packing import Int8Linear, can_pack, packed
from summarizer.model.transformer import Transformer

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of PyTorch has no oneDNN")

MakeModel = Callable[..., Transformer]
# Of the largest logit: rounding in another order, to 8 significant bits, and to 256 steps.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.03, torch.int8: 0.06}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pointer": {"pointer": PointerConfig(enabled=True)},
    "swiglu": {"feed_forward": FeedForwardKind.swiglu},
}


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest, tiny_model: MakeModel) -> Transformer:
    return tiny_model(3, **VARIANTS[request.param]).float()


@torch.inference_mode()
def logits(model: Transformer) -> Tensor:
    """Of four steps, with the cache and all else that decoding takes."""
    generator = torch.Generator().manual_seed(0)
    source_BS, token_BWT = (torch.randint(4, 11, shape, generator=generator) for shape in ((3, 6), (3, 2, 4)))
    mask_BS = length_mask(torch.tensor([6, 3, 1]), 6)
    cache = model.start_cache(source_BS, model.encode(source_BS, mask_BS), mask_BS, num_beams=2, max_length=4)
    return torch.stack([model.decode_step(token_BWT[..., step], step, cache) for step in range(4)])


@PRECISIONS
def test_a_twin_computes_what_its_model_computes(model: Transformer, dtype: torch.dtype) -> None:
    expected = logits(model.eval())
    found = logits(packed(model, dtype))
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < TOLERANCES[dtype] * expected.abs().max()
    if dtype is not torch.float32:
        assert not torch.equal(found, expected)


@PRECISIONS
def test_no_linear_layer_is_left_as_it_was_and_the_model_is(model: Transformer, dtype: torch.dtype) -> None:
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = packed(model, dtype)
    assert not any(isinstance(module, nn.Linear) for module in twin.modules())
    assert not any(module.training for module in twin.modules())
    assert all(module.training for module in model.modules())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_int8_row_does_not_depend_on_what_is_beside_it() -> None:
    torch.manual_seed(0)
    linear = Int8Linear(nn.Linear(16, 8))
    rows_NI = torch.randn(50, 16) * torch.logspace(-3, 3, 50)[:, None]
    together_NO = linear(rows_NI)
    linear.block_rows = 7
    assert torch.equal(linear(rows_NI), together_NO)
    assert all(
        torch.equal(linear(row_I[None])[0], output_O) for row_I, output_O in zip(rows_NI, together_NO, strict=True)
    )
    assert torch.equal(linear(torch.zeros(2, 3, 16)), linear.bias_O.expand(2, 3, 8))
