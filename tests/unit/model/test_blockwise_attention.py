"""Attention in blocks against the definition in float64, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from summarizer.model import attention, blockwise_attention
from summarizer.model.attention import MultiHeadAttention
from summarizer.model.blockwise_attention import is_faster_in_blocks
from summarizer.model.config import AttentionShape, ScoreKind
from summarizer.model.masks import causal_mask, length_mask
from summarizer.model.scoring import build_score

BATCH, HEADS, TARGETS, SOURCES, KEY_DIM, VALUE_DIM = 3, 4, 9, 13, 16, 24
TOLERANCE = 0.01  # of the norm: bfloat16 has 8 bits


def heads_of(length: int, size: int, seed: int) -> Tensor:
    """Split as attention splits them, in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    joined_BTX = torch.randn(BATCH, length, HEADS * size, generator=generator).bfloat16()
    return joined_BTX.view(BATCH, length, HEADS, size).transpose(1, 2).requires_grad_()


def masks() -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    random_BTS = torch.rand(BATCH, TARGETS, SOURCES, generator=generator) < 0.5
    random_BTS[:, :, 3] = True
    blind_BTS = random_BTS.clone()
    blind_BTS[0, 2] = blind_BTS[2] = False
    padding_B1S = length_mask(torch.tensor([SOURCES, 5, 1]), SOURCES)[:, None]
    shared_1TS = random_BTS[:1]
    return {"none": None, "padding": padding_B1S, "random": random_BTS, "shared": shared_1TS, "blind": blind_BTS}


def by_definition(query: Tensor, key: Tensor, value: Tensor, mask_BTS: Tensor | None) -> Tensor:
    mask = None if mask_BTS is None else mask_BTS[:, None]
    scores = query @ key.transpose(-1, -2)
    return attention.masked_softmax(scores, mask) @ value


def assert_computes(query: Tensor, key: Tensor, value: Tensor, mask_BTS: Tensor | None, *, causal: bool) -> None:
    """Output and gradients are those of the definition but for rounding."""
    seen_BTS = causal_mask(query.shape[2])[None] if causal else mask_BTS
    precise = [tensor.detach().double().requires_grad_() for tensor in (query, key, value)]
    expected = by_definition(*precise, seen_BTS)
    output = blockwise_attention.attend_in_blocks(query, key, value, scale=1.0, mask_BTS=mask_BTS, causal=causal)
    assert output.dtype == torch.bfloat16
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pairs = [
        (output, expected),
        *zip(
            torch.autograd.grad(output, (query, key, value), weight.bfloat16()),
            torch.autograd.grad(expected, precise, weight),
            strict=True,
        ),
    ]
    for ours, exact in pairs:
        assert (ours.double() - exact).norm() <= TOLERANCE * exact.norm()
        assert torch.equal(ours == 0, exact == 0), "what nobody sees gets no gradient at all"


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("block_elements", [1, 2 * TARGETS * SOURCES, 3 * TARGETS * SOURCES, 2**20])
def test_it_is_attention_whatever_the_mask_and_the_blocks(
    monkeypatch: pytest.MonkeyPatch, name: str, block_elements: int
) -> None:
    monkeypatch.setattr(blockwise_attention, "_BLOCK_ELEMENTS", block_elements)
    heads = heads_of(TARGETS, KEY_DIM, 3), heads_of(SOURCES, KEY_DIM, 4), heads_of(SOURCES, VALUE_DIM, 5)
    assert_computes(*heads, masks()[name], causal=False)


def test_no_query_looks_ahead() -> None:
    heads = heads_of(TARGETS, KEY_DIM, 3), heads_of(TARGETS, KEY_DIM, 4), heads_of(TARGETS, VALUE_DIM, 5)
    assert_computes(*heads, None, causal=True)


def test_it_is_taken_for_training_in_bfloat16_on_a_cpu_alone() -> None:
    def is_taken(*, causal: bool = False, dtype: torch.dtype = torch.bfloat16, length: int = 9) -> bool:
        heads = torch.empty(1, 1, length, 1, dtype=dtype)
        return is_faster_in_blocks(heads, heads, heads, causal=causal, longest=length)

    assert is_taken()
    assert is_taken(causal=True)
    assert not is_taken(dtype=torch.float32)
    assert is_taken(length=1025)
    assert not is_taken(length=1025, causal=True), "half of so many weights would be computed for nothing"
    with torch.no_grad():
        assert not is_taken()


@pytest.mark.parametrize("kind", [ScoreKind.scaled_dot, ScoreKind.dot, ScoreKind.general], ids=lambda kind: kind.name)
@pytest.mark.parametrize("kv_heads", [HEADS, HEADS // 2])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_layers_train_through_it_as_through_the_fused_kernel(
    monkeypatch: pytest.MonkeyPatch, kind: ScoreKind, kv_heads: int, causal: bool
) -> None:
    torch.manual_seed(0)
    shape = AttentionShape(num_heads=HEADS, kv_heads=kv_heads, key_dim=KEY_DIM, value_dim=VALUE_DIM)
    score = build_score(kind, num_heads=HEADS, key_dim=KEY_DIM)
    layer = MultiHeadAttention(width=32, shape=shape, score=score, dropout=0.0)
    input_BTD = torch.randn(BATCH, TARGETS, 32, requires_grad=True)
    mask_BTS = None if causal else length_mask(torch.tensor([TARGETS, 3, 1]), TARGETS)[:, None]
    calls = []

    def counted(*heads: Tensor, causal: bool, **named: Any) -> Tensor:
        calls.append(causal)
        return blockwise_attention.attend_in_blocks(*heads, causal=causal, **named)

    monkeypatch.setattr(attention, "attend_in_blocks", counted)
    results = []
    for fused in (False, True):
        if fused:
            monkeypatch.setattr(attention, "is_faster_in_blocks", lambda *heads, causal, longest: False)
        with torch.autocast("cpu", torch.bfloat16):
            output_BTD = layer(input_BTD, input_BTD, mask_BTS=mask_BTS, causal=causal)
        parameters = [parameter for parameter in layer.parameters() if parameter is not layer.key.bias]
        gradients = torch.autograd.grad(output_BTD.float().square().sum(), [input_BTD, *parameters])
        results.append([output_BTD.float(), *gradients])
    assert calls == [causal]
    for ours, theirs in zip(*results, strict=True):
        assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
        assert (ours - theirs).norm() <= 3 * TOLERANCE * theirs.norm()
