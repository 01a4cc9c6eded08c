"""Attention segment by segment against attention with a mask: the numbers, the gradients, and when it is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_loop import segment_loop
from torch import Tensor

from summarizer.model import segments as module
from summarizer.model.config import AttentionConfig, AttentionSites, PointerConfig, PositionKind, ScoreKind
from summarizer.model.masks import length_mask
from summarizer.model.segments import KERNELS, attend_by_segments, segments_of
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]


@pytest.fixture
def calls() -> Iterator[list[int]]:
    with segment_loop() as calls:
        yield calls


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    num_queries=st.integers(1, 5),
    crossing=st.booleans(),
    scale=st.sampled_from([1.0, 0.5, 1 / math.sqrt(3)]),
)
def test_segments_give_what_a_mask_gives_forward_and_backward(
    lengths: list[int], padding: int, num_queries: int, crossing: bool, scale: float
) -> None:
    batch, length, lengths_B = len(lengths), max(1, max(lengths) + padding), torch.tensor(lengths)
    queries = num_queries if crossing else length
    query, key = random(batch, 2, queries, 3, seed=0), random(batch, 2, length, 3, seed=1)
    value = random(batch, 2, length, 4, seed=2)
    mask_BS = length_mask(lengths_B, length)
    masked = F.scaled_dot_product_attention(query, key, value, mask_BS[:, None, None], scale=scale)
    with segment_loop():
        segments = segments_of(lengths_B, length)
        assert segments is not None
        if crossing:
            segments = segments.queried_by(queries)
        cut = attend_by_segments(query, key, value, segments, scale=scale)
    assert cut.shape == masked.shape
    counts_B = torch.ones(batch, queries, dtype=torch.bool) if crossing else mask_BS
    masked, cut = masked.transpose(1, 2)[counts_B], cut.transpose(1, 2)[counts_B]
    torch.testing.assert_close(cut, masked, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(cut)
    expected = torch.autograd.grad((masked * weight).sum(), (query, key, value))
    for found, wanted in zip(torch.autograd.grad((cut * weight).sum(), (query, key, value)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def at_all_sites(score: ScoreKind, **sizes: int) -> dict[str, Any]:
    sites = {name: AttentionConfig(score=score, **sizes) for name in ("encoder_self", "decoder_self", "cross")}
    return {"attention": AttentionSites(**sites)}


# What a model is made of, and how many of its four attentions to a padded source go segment by segment.
MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 4),
    "luong": (at_all_sites(ScoreKind.dot), 4),
    "general": (at_all_sites(ScoreKind.general), 4),
    "shared keys": (at_all_sites(ScoreKind.scaled_dot, kv_heads=1), 4),
    "sizes": (at_all_sites(ScoreKind.scaled_dot, key_dim=4, value_dim=6), 4),
    "rotary": ({"positions": PositionKind.rotary}, 4),
    "pointer": ({"pointer": PointerConfig(enabled=True)}, 4),
    "biased": ({"positions": PositionKind.relative_bias}, 2),
    "alibi": ({"positions": PositionKind.alibi}, 2),
    "additive": (at_all_sites(ScoreKind.additive), 0),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_the_same_and_has_the_same_gradients(
    tiny_model: MakeModel, calls: list[int], name: str, training: bool
) -> None:
    changes, expected_calls = MODELS[name]
    model = tiny_model(**changes).train(training)
    source_BS, input_BT = torch.randint(11, (3, 9)), torch.randint(11, (3, 5))
    lengths_B = torch.tensor([9, 4, 1])
    mask_BS = length_mask(lengths_B, 9)
    segments = segments_of(lengths_B, 9)
    outputs, gradients = [], []
    for given_segments in (None, segments):
        hidden_BTD, copying = model(source_BS, mask_BS, input_BT, given_segments)
        encoded_BSD = model.encode(source_BS, mask_BS, given_segments)
        outputs.append((hidden_BTD, encoded_BSD[mask_BS]))
        loss = hidden_BTD.square().sum()
        if copying is not None:
            loss = loss + copying.copied().square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
    assert len(calls) == expected_calls + (2 if expected_calls == 4 else 0)  # the encoder went through twice
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_brings_nothing_from_another_device(
    tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Traced, with the kernel of CUDA, on a device without data, with whose tensors those of a CPU do not mix."""
    kernel, attended = KERNELS["cuda"], [0]

    def attend(*arguments: Any) -> Tensor:
        attended[0] += 1
        return kernel.attend(*arguments)

    monkeypatch.setitem(KERNELS, "meta", kernel._replace(attend=attend, is_available=lambda device: True))
    model = tiny_model(**MODELS[name][0]).bfloat16().to("meta").train()
    lengths_B = torch.empty(3, dtype=torch.int64, device="meta")
    source_BS, input_BT = (torch.empty(3, length, dtype=torch.int64, device="meta") for length in (9, 5))
    hidden_BTD, copying = model(source_BS, length_mask(lengths_B, 9), input_BT, segments_of(lengths_B, 9))
    loss = hidden_BTD.float().sum() if copying is None else hidden_BTD.float().sum() + copying.copied().sum()
    loss.backward()
    assert model.source_embedding.weight.grad is not None
    assert attended == [0 if name == "sizes" else MODELS[name][1]]  # of 4 and 6, which are no multiples of 8


def test_dropped_attention_weights_need_a_kernel_that_can_drop(tiny_model: MakeModel, calls: list[int]) -> None:
    model = tiny_model(attention_dropout=0.5)
    lengths_B, source_BS = torch.tensor([4, 2]), torch.randint(11, (2, 4))
    arguments = source_BS, length_mask(lengths_B, 4), source_BS, segments_of(lengths_B, 4)
    model.train()(*arguments)
    assert not calls
    model.eval()(*arguments)
    assert len(calls) == 4


def test_no_token_moves(calls: list[int]) -> None:
    """Rows reach the kernel as they lie: what projections give is viewed, not copied."""
    joined_BTX = torch.randn(2, 5, 3 * 2 * 8)
    query, key, value = (part.view(2, 5, 2, 8).transpose(1, 2) for part in joined_BTX.split(16, dim=-1))
    segments = segments_of(torch.tensor([5, 3]), 5)
    assert segments is not None
    seen: list[Tensor] = []
    kernel = KERNELS["cpu"]
    spy = kernel._replace(attend=lambda *given: (seen.extend(given[:3]), kernel.attend(*given))[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KERNELS, "cpu", spy)
        mixed = attend_by_segments(query, key, value, segments, scale=1 / math.sqrt(8))
    assert {tensor.untyped_storage().data_ptr() for tensor in seen} == {joined_BTX.untyped_storage().data_ptr()}
    assert mixed.shape == (2, 2, 5, 8)


def test_a_cpu_has_no_kernel_for_segments() -> None:
    assert segments_of(torch.tensor([3, 1]), 3) is None


@pytest.mark.parametrize(
    ("dtype", "key_dim", "value_dim", "expected"),
    [
        (torch.bfloat16, 64, 64, True),
        (torch.float16, 256, 256, True),
        (torch.float32, 64, 64, False),
        (torch.bfloat16, 64, 32, False),
        (torch.bfloat16, 60, 60, False),
        (torch.bfloat16, 264, 264, False),
    ],
)
def test_the_kernel_of_cuda_takes_halves_in_heads_of_some_sizes(
    dtype: torch.dtype, key_dim: int, value_dim: int, expected: bool
) -> None:
    query, value = torch.zeros(1, 1, 1, key_dim, dtype=dtype), torch.zeros(1, 1, 1, value_dim, dtype=dtype)
    assert KERNELS["cuda"].suits(query, query, value) is expected
    assert not KERNELS["cuda"].suits(query.float(), query, value)


def test_switched_off_or_on_an_old_card_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 0)
    for capability, enabled in (((8, 0), True), ((7, 5), True), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        monkeypatch.setattr(torch.backends.cuda, "flash_sdp_enabled", lambda answer=enabled: answer)
        assert KERNELS["cuda"].is_available(device) is (enabled and capability >= (8, 0))


def test_the_kernel_is_called_as_this_release_of_pytorch_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced on a device without data: signature, shapes and dtypes are checked, nothing is computed."""
    monkeypatch.setitem(KERNELS, "meta", KERNELS["cuda"]._replace(is_available=lambda device: True))
    query = torch.empty(2, 4, 6, 8, dtype=torch.bfloat16, device="meta", requires_grad=True)
    segments = segments_of(torch.empty(2, dtype=torch.int64, device="meta"), 6)
    assert segments is not None
    mixed = attend_by_segments(query, query, query, segments.queried_by(6), scale=1.0)
    assert mixed.shape == query.shape
    mixed.sum().backward()
    assert query.grad is not None
    assert module.can_attend_by_segments(query, query, query)
