"""Attention against its definition written with loops; masks; queries that may attend to nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from summarizer.model.attention import MultiHeadAttention, masked_softmax
from summarizer.model.masks import causal_mask, length_mask

WIDTH, HEADS, KEY_DIM, VALUE_DIM = 12, 3, 5, 7
BATCH, TARGETS, SOURCES = 2, 4, 6


def make_attention(dropout: float = 0.0) -> MultiHeadAttention:
    torch.manual_seed(0)
    attention = MultiHeadAttention(width=WIDTH, num_heads=HEADS, key_dim=KEY_DIM, value_dim=VALUE_DIM, dropout=dropout)
    return attention.double()


def make_inputs() -> tuple[Tensor, Tensor]:
    """query_BTD, source_BSD."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(BATCH, TARGETS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True),
        torch.randn(BATCH, SOURCES, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True),
    )


def random_mask() -> Tensor:
    """mask_BTS in which one query, the last of the first row, may attend to nothing."""
    generator = torch.Generator().manual_seed(2)
    mask_BTS = torch.rand(BATCH, TARGETS, SOURCES, generator=generator) < 0.5
    mask_BTS[:, :, 2] = True
    mask_BTS[0, -1] = False
    return mask_BTS


MASKS = {
    "none": torch.ones(1, 1, SOURCES, dtype=torch.bool),
    "padding": length_mask(torch.tensor([SOURCES, 2]), SOURCES)[:, None],
    "random": random_mask(),
}


def by_definition(attention: MultiHeadAttention, query_BTD: Tensor, source_BSD: Tensor, mask_BTS: Tensor) -> Tensor:
    """One query, one head and one source position at a time."""
    mask_BTS = mask_BTS.expand(len(query_BTD), query_BTD.shape[1], source_BSD.shape[1])
    output_BTD = torch.stack(
        [
            _mix(attention, query_D, source_SD, mask_S)
            for query_TD, source_SD, mask_TS in zip(query_BTD, source_BSD, mask_BTS, strict=True)
            for query_D, mask_S in zip(query_TD, mask_TS, strict=True)
        ]
    )
    return output_BTD.view_as(query_BTD)


def _mix(attention: MultiHeadAttention, query_D: Tensor, source_SD: Tensor, mask_S: Tensor) -> Tensor:
    seen = [source_D for source_D, may_attend in zip(source_SD, mask_S.tolist(), strict=True) if may_attend]
    heads = []
    for head in range(HEADS):
        query_K = attention.query(query_D)[head * KEY_DIM :][:KEY_DIM]
        mixed_U = torch.zeros(VALUE_DIM, dtype=torch.float64)
        total = 0.0
        for source_D in seen:
            key_K = attention.key(source_D)[head * KEY_DIM :][:KEY_DIM]
            value_U = attention.value(source_D)[head * VALUE_DIM :][:VALUE_DIM]
            share = (query_K @ key_K / math.sqrt(KEY_DIM)).exp()
            mixed_U = mixed_U + share * value_U
            total = total + share
        heads.append(mixed_U / total if seen else mixed_U)
    output_D: Tensor = attention.output(torch.cat(heads))
    return output_D


def gradients(attention: MultiHeadAttention, output_BTD: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Of a sum with a different weight for each output, by the inputs and by all parameters."""
    directions = torch.linspace(-1, 2, output_BTD.numel(), dtype=output_BTD.dtype).view_as(output_BTD)
    return torch.autograd.grad((output_BTD * directions).sum(), (*inputs, *attention.parameters()))


@pytest.mark.parametrize("name", MASKS)
def test_values_and_gradients_are_those_of_the_definition(name: str) -> None:
    attention, (query_BTD, source_BSD) = make_attention(), make_inputs()
    mask_BTS = None if name == "none" else MASKS[name]
    ours_BTD = attention(query_BTD, source_BSD, mask_BTS=mask_BTS)
    expected_BTD = by_definition(attention, query_BTD, source_BSD, MASKS[name])
    torch.testing.assert_close(ours_BTD, expected_BTD, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        gradients(attention, ours_BTD, query_BTD, source_BSD),
        gradients(attention, expected_BTD, query_BTD, source_BSD),
        rtol=0,
        atol=1e-12,
    )


def test_causal_attention_looks_at_itself_and_its_past() -> None:
    attention, (_, hidden_BTD) = make_attention(), make_inputs()
    ours_BTD = attention(hidden_BTD, hidden_BTD, causal=True)
    expected_BTD = by_definition(attention, hidden_BTD, hidden_BTD, causal_mask(SOURCES))
    torch.testing.assert_close(ours_BTD, expected_BTD, rtol=0, atol=1e-12)
    weights_BHTS = attention.weights(hidden_BTD, hidden_BTD, causal=True)
    assert torch.equal(weights_BHTS > 0, causal_mask(SOURCES).expand_as(weights_BHTS))


@pytest.mark.parametrize("name", MASKS)
def test_the_explicit_weights_are_those_the_fused_path_mixes_with(name: str) -> None:
    attention, (query_BTD, source_BSD) = make_attention(), make_inputs()
    mask_BTS = None if name == "none" else MASKS[name]
    weights_BHTS = attention.weights(query_BTD, source_BSD, mask_BTS=mask_BTS)
    mixed_BHTU = weights_BHTS @ attention.keys_values(source_BSD).value_BHSU
    output_BTD = attention.output(mixed_BHTU.transpose(1, 2).flatten(2))
    fused_BTD = attention(query_BTD, source_BSD, mask_BTS=mask_BTS)
    torch.testing.assert_close(output_BTD, fused_BTD, rtol=0, atol=1e-12)

    may_attend_BHTS = MASKS[name].unsqueeze(-3).expand_as(weights_BHTS)
    assert torch.equal(weights_BHTS > 0, may_attend_BHTS)
    torch.testing.assert_close(weights_BHTS.sum(-1), may_attend_BHTS.any(-1).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_query_that_may_attend_to_nothing_mixes_zeros_and_sends_zeros_back(dtype: torch.dtype) -> None:
    attention = make_attention().to(dtype)
    query_BTD, source_BSD = (tensor.detach().to(dtype).requires_grad_() for tensor in make_inputs())
    mask_BTS = torch.ones(BATCH, TARGETS, SOURCES, dtype=torch.bool)
    mask_BTS[0] = False
    mask_BTS[1, 2] = False
    output_BTD = attention(query_BTD, source_BSD, mask_BTS=mask_BTS)
    blind_BT = ~mask_BTS.any(-1)
    assert torch.equal(output_BTD[blind_BT], attention.output.bias.expand(5, WIDTH))

    query_gradient_BTD, source_gradient_BSD, *others = gradients(attention, output_BTD, query_BTD, source_BSD)
    assert not query_gradient_BTD[blind_BT].any()
    assert query_gradient_BTD[~blind_BT].any()
    assert not source_gradient_BSD[0].any()
    assert all(tensor.isfinite().all() for tensor in (query_gradient_BTD, source_gradient_BSD, *others))


def test_softmax_over_nothing_is_zero_forward_and_backward() -> None:
    scores = torch.tensor([[3.0, -1.0, 2.0], [5.0, 0.0, 1.0]], requires_grad=True)
    weights = masked_softmax(scores, torch.tensor([[True, False, True], [False, False, False]]))
    assert not weights[1].any()
    assert weights[0, 1] == 0
    torch.testing.assert_close(weights[0, [0, 2]], scores[0, [0, 2]].softmax(0))

    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert gradient.isfinite().all()
    assert not gradient[1].any()
    assert gradient[0].tolist()[1] == 0
    assert gradient[0, [0, 2]].all()


def test_keys_and_values_at_hand_give_the_same_output() -> None:
    attention, (query_BTD, source_BSD) = make_attention(), make_inputs()
    keys_values = attention.keys_values(source_BSD)
    assert keys_values.key_BHSK.shape == (BATCH, HEADS, SOURCES, KEY_DIM)
    assert keys_values.value_BHSU.shape == (BATCH, HEADS, SOURCES, VALUE_DIM)
    mask_BTS = MASKS["random"]
    assert torch.equal(
        attention.attend(query_BTD, keys_values, mask_BTS=mask_BTS),
        attention(query_BTD, source_BSD, mask_BTS=mask_BTS),
    )


def test_weights_are_dropped_in_training_only() -> None:
    attention, (query_BTD, source_BSD) = make_attention(dropout=0.5), make_inputs()
    attention.eval()
    assert torch.equal(attention(query_BTD, source_BSD), make_attention()(query_BTD, source_BSD))
    attention.train()
    assert not torch.allclose(attention(query_BTD, source_BSD), attention(query_BTD, source_BSD))
