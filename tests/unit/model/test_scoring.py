"""Score functions against their formulas in loops; additive scores in blocks, in half precision, in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from summarizer.model import scoring
from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionShape, ScoreKind
from summarizer.model.scoring import ScoreFunction, build_score

each_kind = pytest.mark.parametrize("kind", ScoreKind, ids=lambda kind: kind.name)
ONE_BLOCK = 2**40


def make_score(kind: ScoreKind, *, num_heads: int, key_dim: int) -> ScoreFunction:
    """In float64, with random parameters."""
    score = build_score(kind, num_heads=num_heads, key_dim=key_dim).double()
    for parameter in score.parameters():
        torch.nn.init.normal_(parameter)
    return score


def make_inputs(batch: int, heads: int, targets: int, sources: int, key_dim: int) -> tuple[Tensor, Tensor]:
    """query_BHTK, key_BHSK."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((batch, heads, targets, key_dim), (batch, heads, sources, key_dim))
    query_BHTK, key_BHSK = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return query_BHTK.requires_grad_(), key_BHSK.requires_grad_()


def by_definition(kind: ScoreKind, query_BHTK: Tensor, key_BHSK: Tensor, *parameters: Tensor) -> Tensor:
    """scores_BHTS, one number at a time; ``parameters`` have one entry a head."""
    scores = [
        _score(kind, query_K, key_K, *(parameter[head] for parameter in parameters))
        for query_HTK, key_HSK in zip(query_BHTK, key_BHSK, strict=True)
        for head, (query_TK, key_SK) in enumerate(zip(query_HTK, key_HSK, strict=True))
        for query_K in query_TK
        for key_K in key_SK
    ]
    return torch.stack(scores).view(*query_BHTK.shape[:3], key_BHSK.shape[2])


def _score(kind: ScoreKind, query_K: Tensor, key_K: Tensor, *parameters: Tensor) -> Tensor:
    query, key = query_K.unbind(), key_K.unbind()
    size = range(len(query))
    match kind:
        case ScoreKind.dot:
            terms = [query[i] * key[i] for i in size]
        case ScoreKind.scaled_dot:
            terms = [query[i] * key[i] / math.sqrt(len(size)) for i in size]
        case ScoreKind.general:
            (matrix_KK,) = parameters
            terms = [query[i] * matrix_KK[i, j] * key[j] / math.sqrt(len(size)) for i in size for j in size]
        case ScoreKind.additive:
            (vector_K,) = parameters
            terms = [vector_K[i] * torch.tanh(query[i] + key[i]) for i in size]
    return torch.stack(terms).sum()


def values_and_gradients(scores_BHTS: Tensor, *by: Tensor) -> tuple[Tensor, ...]:
    """The scores, and the gradients of a sum with a different weight for each of them."""
    directions = torch.linspace(-1, 2, scores_BHTS.numel(), dtype=scores_BHTS.dtype).view_as(scores_BHTS)
    return (scores_BHTS, *torch.autograd.grad((scores_BHTS * directions).sum(), by))


# Against the formulas


@each_kind
@settings(max_examples=25)
@given(data=st.data())
def test_values_and_gradients_are_those_of_the_formula(kind: ScoreKind, data: st.DataObject) -> None:
    batch, heads, key_dim = (data.draw(st.integers(1, 3), name) for name in ("batch", "heads", "key_dim"))
    targets, sources = (data.draw(st.integers(1, 4), name) for name in ("targets", "sources"))
    score = make_score(kind, num_heads=heads, key_dim=key_dim)
    inputs = make_inputs(batch, heads, targets, sources, key_dim)
    by = (*inputs, *score.parameters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK_ELEMENTS", data.draw(st.integers(1, 150), "block"))
        ours = values_and_gradients(score(*inputs), *by)
    expected = values_and_gradients(by_definition(kind, *by), *by)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@each_kind
def test_every_head_has_parameters_of_its_own(kind: ScoreKind) -> None:
    score = make_score(kind, num_heads=3, key_dim=2)
    assert all(len(parameter) == 3 for parameter in score.parameters())
    assert bool(list(score.parameters())) == (kind in (ScoreKind.general, ScoreKind.additive))


def test_general_scores_start_out_as_scaled_dot_products() -> None:
    inputs = make_inputs(2, 3, 4, 5, 6)
    general, scaled_dot = (
        build_score(kind, num_heads=3, key_dim=6).double() for kind in (ScoreKind.general, ScoreKind.scaled_dot)
    )
    assert torch.equal(general(*inputs), scaled_dot(*inputs))


@pytest.mark.parametrize("kind", [ScoreKind.scaled_dot, ScoreKind.general, ScoreKind.additive], ids=str)
@pytest.mark.parametrize("key_dim", [4, 256])
def test_scores_of_a_new_model_are_of_size_one_whatever_the_size_of_the_keys(kind: ScoreKind, key_dim: int) -> None:
    torch.manual_seed(0)
    scores_BHTS = build_score(kind, num_heads=16, key_dim=key_dim).double()(*make_inputs(2, 16, 20, 20, key_dim))
    assert 0.3 < scores_BHTS.std().item() < 1.5


# Additive scores in blocks


@pytest.mark.parametrize("block", [1, 40, ONE_BLOCK], ids=["one query", "uneven", "all at once"])
def test_additive_gradients_are_slopes(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_ELEMENTS", block)
    query_BHTK, key_BHSK = make_inputs(1, 2, 5, 3, 3)
    vector_HK = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scoring._BlockwiseAdditive.apply, (query_BHTK, key_BHSK, vector_HK))


@pytest.mark.parametrize("block", [1, 2 * 3 * 7 * 5, 5 * (2 * 3 * 7 * 5) + 1], ids=["one query", "two", "five"])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    score, inputs = make_score(ScoreKind.additive, num_heads=3, key_dim=5), make_inputs(2, 3, 11, 7, 5)
    results = []
    for elements in (block, ONE_BLOCK):
        monkeypatch.setattr(scoring, "_BLOCK_ELEMENTS", elements)
        results.append(values_and_gradients(score(*inputs), *inputs, *score.parameters()))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_no_block_is_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def activations(query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        activation_BHTSK = original(query_BHTK, key_BHSK)
        made.append(activation_BHTSK.numel())
        return activation_BHTSK

    original: Callable[[Tensor, Tensor], Tensor] = scoring._activations
    monkeypatch.setattr(scoring, "_activations", activations)
    monkeypatch.setattr(scoring, "_BLOCK_ELEMENTS", 1000)
    score, inputs = make_score(ScoreKind.additive, num_heads=3, key_dim=5), make_inputs(2, 3, 11, 7, 5)
    values_and_gradients(score(*inputs), *inputs)
    assert max(made) <= 1000
    assert sum(made) == 2 * (2 * 3 * 11 * 7 * 5)  # every pair once forward and once backward


def test_additive_scores_in_half_precision_are_close_to_those_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_ELEMENTS", 1)  # many blocks, whose gradients add up
    score = make_score(ScoreKind.additive, num_heads=2, key_dim=16).to(torch.bfloat16)
    inputs = [tensor.detach().bfloat16() for tensor in make_inputs(1, 2, 600, 20, 16)]
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        score = score.to(dtype)
        by = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        results.append(values_and_gradients(score(*by), *by, *score.parameters()))
    for half, single in zip(*results, strict=True):
        assert half.dtype == torch.bfloat16
        assert ((half.float() - single).norm() / single.norm()).item() < 0.01


# Memory


class ExplicitDot(ScoreFunction):
    """Scaled dot-product scores of which attention does not know that a fused kernel could have them."""

    def __init__(self, key_dim: int) -> None:
        super().__init__()
        self.score = build_score(ScoreKind.scaled_dot, num_heads=8, key_dim=key_dim)

    def forward(self, query_BHTK: Tensor, key_BHSK: Tensor) -> Tensor:
        scores_BHTS: Tensor = self.score(query_BHTK, key_BHSK)
        return scores_BHTS


def peak_bytes(score: ScoreFunction, length: int, trace: Path) -> int:
    """Most bytes that attention forward and backward held at once beyond what was there before."""
    shape = AttentionShape(num_heads=8, kv_heads=8, key_dim=64, value_dim=8)
    attention = MultiHeadAttention(width=64, shape=shape, score=score, dropout=0.0)
    hidden_BTD = torch.randn(1, length, 64, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        attention(hidden_BTD, hidden_BTD).sum().backward()
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(
    ("length", "block"),
    [(256, 2**16), pytest.param(1024, scoring._BLOCK_ELEMENTS, marks=pytest.mark.slow)],
)
def test_additive_attention_needs_less_than_three_times_the_memory_of_dot_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, block: int
) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_ELEMENTS", block)
    dot = peak_bytes(ExplicitDot(key_dim=64), length, tmp_path / "dot.json")
    assert dot > 2 * (8 * length * length * 4)  # at least the scores and the weights: the measure sees them
    additive = peak_bytes(build_score(ScoreKind.additive, num_heads=8, key_dim=64), length, tmp_path / "additive.json")
    assert additive < 3 * dot
