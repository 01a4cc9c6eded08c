"""Attention with every score function against its definition in loops; masks; queries that may attend to nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from summarizer.model.attention import MultiHeadAttention, masked_softmax
from summarizer.model.config import AttentionShape, ScoreKind
from summarizer.model.masks import causal_mask, length_mask
from summarizer.model.scoring import ScoreFunction, build_score

WIDTH, HEADS, KEY_DIM, VALUE_DIM = 12, 3, 5, 7
SHAPE = AttentionShape(num_heads=HEADS, kv_heads=HEADS, key_dim=KEY_DIM, value_dim=VALUE_DIM)
BATCH, TARGETS, SOURCES = 2, 4, 6


each_kind = pytest.mark.parametrize("kind", ScoreKind, ids=lambda kind: kind.name)


def make_attention(kind: ScoreKind, dropout: float = 0.0) -> MultiHeadAttention:
    """In float64, with random score parameters."""
    torch.manual_seed(0)
    score = build_score(kind, num_heads=HEADS, key_dim=KEY_DIM)
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    return attention_with(score, dropout).double()


def attention_with(score: ScoreFunction, dropout: float = 0.0) -> MultiHeadAttention:
    torch.manual_seed(1)
    return MultiHeadAttention(width=WIDTH, shape=SHAPE, score=score, dropout=dropout)


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
    """One query, one head and one source position at a time; the score function itself has tests of its own."""
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
    query_1H1K = attention.query(query_D).view(1, HEADS, 1, KEY_DIM)
    mixed_HU = torch.zeros(HEADS, VALUE_DIM, dtype=torch.float64)
    total_H1 = torch.zeros(HEADS, 1, dtype=torch.float64)
    for source_D in seen:
        key_1H1K = attention.key(source_D).view(1, HEADS, 1, KEY_DIM)
        share_H1 = attention.score(query_1H1K, key_1H1K).view(HEADS, 1).exp()
        mixed_HU = mixed_HU + share_H1 * attention.value(source_D).view(HEADS, VALUE_DIM)
        total_H1 = total_H1 + share_H1
    output_D: Tensor = attention.output((mixed_HU / total_H1 if seen else mixed_HU).flatten())
    return output_D


def gradients(attention: MultiHeadAttention, output_BTD: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Of a sum with a different weight for each output, by the inputs and by all parameters."""
    directions = torch.linspace(-1, 2, output_BTD.numel(), dtype=output_BTD.dtype).view_as(output_BTD)
    return torch.autograd.grad((output_BTD * directions).sum(), (*inputs, *attention.parameters()))


@each_kind
@pytest.mark.parametrize("name", MASKS)
def test_values_and_gradients_are_those_of_the_definition(name: str, kind: ScoreKind) -> None:
    attention, (query_BTD, source_BSD) = make_attention(kind), make_inputs()
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


@each_kind
def test_causal_attention_looks_at_itself_and_its_past(kind: ScoreKind) -> None:
    attention, (_, hidden_BTD) = make_attention(kind), make_inputs()
    ours_BTD = attention(hidden_BTD, hidden_BTD, causal=True)
    expected_BTD = by_definition(attention, hidden_BTD, hidden_BTD, causal_mask(SOURCES))
    torch.testing.assert_close(ours_BTD, expected_BTD, rtol=0, atol=1e-12)
    weights_BHTS = attention.weights(hidden_BTD, hidden_BTD, causal=True)
    assert torch.equal(weights_BHTS > 0, causal_mask(SOURCES).expand_as(weights_BHTS))


@each_kind
@pytest.mark.parametrize("name", MASKS)
def test_the_explicit_weights_are_those_the_output_is_mixed_with(name: str, kind: ScoreKind) -> None:
    attention, (query_BTD, source_BSD) = make_attention(kind), make_inputs()
    mask_BTS = None if name == "none" else MASKS[name]
    weights_BHTS = attention.weights(query_BTD, source_BSD, mask_BTS=mask_BTS)
    mixed_BHTU = weights_BHTS @ attention.keys_values(source_BSD).value_BGSU
    output_BTD = attention.output(mixed_BHTU.transpose(1, 2).flatten(2))
    expected_BTD = attention(query_BTD, source_BSD, mask_BTS=mask_BTS)
    torch.testing.assert_close(output_BTD, expected_BTD, rtol=0, atol=1e-12)

    may_attend_BHTS = MASKS[name].unsqueeze(-3).expand_as(weights_BHTS)
    assert torch.equal(weights_BHTS > 0, may_attend_BHTS)
    torch.testing.assert_close(weights_BHTS.sum(-1), may_attend_BHTS.any(-1).double())


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_query_that_may_attend_to_nothing_mixes_zeros_and_sends_zeros_back(
    dtype: torch.dtype, kind: ScoreKind
) -> None:
    attention = make_attention(kind).to(dtype)
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


@each_kind
def test_keys_and_values_at_hand_give_the_same_output(kind: ScoreKind) -> None:
    attention, (query_BTD, source_BSD) = make_attention(kind), make_inputs()
    keys_values = attention.keys_values(source_BSD)
    assert keys_values.key_BGSK.shape == (BATCH, HEADS, SOURCES, KEY_DIM)
    assert keys_values.value_BGSU.shape == (BATCH, HEADS, SOURCES, VALUE_DIM)
    mask_BTS = MASKS["random"]
    torch.testing.assert_close(
        attention.attend(query_BTD, keys_values, mask_BTS=mask_BTS),
        attention(query_BTD, source_BSD, mask_BTS=mask_BTS),
        rtol=1e-12,
        atol=1e-12,
    )


class Unfused(ScoreFunction):
    """The same scores, but attention does not know that a fused kernel could have them."""

    def __init__(self, score: ScoreFunction) -> None:
        super().__init__()
        self.score = score

    def forward(self, query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        scores_BHTS: Tensor = self.score(query_BHTK, key_BHSK)
        return scores_BHTS


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [ScoreKind.scaled_dot, ScoreKind.dot, ScoreKind.general], ids=lambda kind: kind.name)
def test_the_explicit_path_gives_what_the_fused_one_gives(kind: ScoreKind, causal: bool) -> None:
    fused, (query_BTD, source_BSD) = make_attention(kind), make_inputs()
    explicit = attention_with(Unfused(fused.score)).double()
    results = []
    for attention in (fused, explicit):
        mask_BTS = None if causal else MASKS["random"]
        output_BTD = attention(source_BSD if causal else query_BTD, source_BSD, mask_BTS=mask_BTS, causal=causal)
        results.append((output_BTD, *gradients(attention, output_BTD, source_BSD)))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@each_kind
def test_heads_that_share_keys_see_what_they_would_see_in_copies(kind: ScoreKind) -> None:
    shared, copied = (
        MultiHeadAttention(
            width=WIDTH,
            shape=AttentionShape(num_heads=6, kv_heads=kv_heads, key_dim=KEY_DIM, value_dim=VALUE_DIM),
            score=build_score(kind, num_heads=6, key_dim=KEY_DIM),
            dropout=0.0,
        ).double()
        for kv_heads in (2, 6)
    )
    weights = shared.state_dict()
    for name in ("key.weight", "key.bias", "value.weight", "value.bias"):
        weights[name] = weights[name].unflatten(0, (2, -1)).repeat_interleave(3, dim=0).flatten(0, 1)
    copied.load_state_dict(weights)
    query_BTD, source_BSD = make_inputs()
    for compute in (MultiHeadAttention.forward, MultiHeadAttention.weights):
        ours, expected = (compute(attention, query_BTD, source_BSD) for attention in (shared, copied))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@each_kind
def test_weights_are_dropped_in_training_only(kind: ScoreKind) -> None:
    attention, (query_BTD, source_BSD) = make_attention(kind, dropout=0.5), make_inputs()
    attention.eval()
    assert torch.equal(attention(query_BTD, source_BSD), make_attention(kind).eval()(query_BTD, source_BSD))
    weights_BHTS = attention.weights(query_BTD, source_BSD)
    attention.train()
    assert not torch.allclose(attention(query_BTD, source_BSD), attention(query_BTD, source_BSD))
    assert torch.equal(attention.weights(query_BTD, source_BSD), weights_BHTS)


@each_kind
@torch.no_grad()
def test_what_is_left_of_dropped_weights_makes_up_for_the_others(kind: ScoreKind) -> None:
    attention, (query_BTD, source_BSD) = make_attention(kind, dropout=0.25).train(), make_inputs()
    attention.value.weight.zero_()
    attention.value.bias.fill_(1)  # so that a head mixes the sum of its weights
    torch.nn.init.eye_(attention.output.weight)
    attention.output.bias.zero_()
    sum_BTD = attention(query_BTD[:1].expand(2000, -1, -1), source_BSD[:1].expand(2000, -1, -1))
    assert sum_BTD.std().item() > 0.1
    torch.testing.assert_close(sum_BTD.mean(0), torch.ones_like(sum_BTD[0]), rtol=0, atol=0.1)


@each_kind
def test_autocast_changes_rounding_only(kind: ScoreKind) -> None:
    attention, mask_BTS = make_attention(kind).float(), MASKS["random"]
    query_BTD, source_BSD = (tensor.detach().float().requires_grad_() for tensor in make_inputs())
    results = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output_BTD = attention(query_BTD, source_BSD, mask_BTS=mask_BTS)
        results.append([output_BTD.float(), *gradients(attention, output_BTD.float(), query_BTD, source_BSD)])
    for half, single in zip(*results, strict=True):
        assert (half - single).norm() < 0.05 * (0.1 + single.norm())
