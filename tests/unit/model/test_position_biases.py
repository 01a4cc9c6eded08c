"""Relative and ALiBi biases against their formulas, from any start, and in the scores of attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionShape, PositionKind, ScoreKind
from summarizer.model.masks import causal_mask, length_mask
from summarizer.model.positions import AlibiBias, AttentionPositions, RelativeBias
from summarizer.model.scoring import build_score
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]


def bucket_by_definition(distance: int, *, causal: bool, num_buckets: int, max_distance: int) -> int:
    """In whole numbers: bucket exact + j begins at exact * (max_distance / exact)^(j / rest), Raffel et al. 2020."""
    if not causal:
        num_buckets //= 2
        own = bucket_by_definition(abs(distance), causal=True, num_buckets=num_buckets, max_distance=max_distance)
        return own + num_buckets * (distance < 0)
    distance = max(0, distance)
    exact, rest = num_buckets // 2, num_buckets - num_buckets // 2
    if distance < exact:
        return distance
    begun = [j for j in range(rest) if distance**rest * exact**j >= exact**rest * max_distance**j]
    return exact + max(begun)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (8, 20), (8, 64), (10, 100)])
def test_buckets_are_those_of_the_paper(num_buckets: int, max_distance: int, causal: bool) -> None:
    positions = RelativeBias(num_heads=1, causal=causal, num_buckets=num_buckets, max_distance=max_distance)
    with torch.no_grad():
        positions.table_HN[0] = torch.arange(num_buckets)  # each bucket's bias is its number
    bucket_TS = positions.bias(0, 200, 200)[0].long().tolist()
    expected = {
        distance: bucket_by_definition(distance, causal=causal, num_buckets=num_buckets, max_distance=max_distance)
        for distance in range(-199, 200)
    }
    assert bucket_TS == [[expected[query - key] for key in range(200)] for query in range(200)]
    if causal:
        assert sorted(set(expected.values())) == list(range(num_buckets))
    else:
        assert set(range(num_buckets)) - set(expected.values()) == {num_buckets // 2}, "0 comes before, not after"


def test_near_distances_have_buckets_of_their_own_and_far_ones_share_the_last() -> None:
    bucket_T1 = RelativeBias(num_heads=1, causal=True)._buckets(torch.arange(1000)[:, None])[:, 0].tolist()
    assert bucket_T1[:16] == list(range(16))
    assert bucket_T1 == sorted(bucket_T1)
    assert set(bucket_T1[128:]) == {31}
    assert bucket_T1.index(31) > 100
    both = RelativeBias(num_heads=1, causal=False)._buckets(torch.tensor([[7, 0, -1, -7, 1000, -1000]]))[0].tolist()
    assert both == [7, 0, 17, 23, 15, 31]


def test_heads_have_relative_biases_of_their_own() -> None:
    positions = RelativeBias(num_heads=3, causal=True)
    torch.nn.init.normal_(positions.table_HN)
    bias_HTS = positions.bias(0, 4, 4)
    assert bias_HTS.shape == (3, 4, 4)
    for head in range(3):
        assert torch.equal(bias_HTS[head, :, 0], positions.table_HN[head, :4])


@pytest.mark.parametrize("num_heads", [1, 2, 4, 6, 8])
def test_alibi_slopes_are_those_of_the_paper(num_heads: int) -> None:
    slopes_H = AlibiBias(num_heads).slopes_H
    expected = [2 ** (-8 * head / num_heads) for head in range(1, num_heads + 1)]
    torch.testing.assert_close(slopes_H, torch.tensor(expected), rtol=1e-6, atol=0)
    if num_heads == 8:
        assert slopes_H.tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]


def test_alibi_falls_in_proportion_to_the_distance_on_both_sides() -> None:
    bias_HTS = AlibiBias(2).bias(0, 5, 7)
    for head, slope in enumerate((1 / 16, 1 / 256)):
        expected = [[-slope * abs(query - key) for key in range(7)] for query in range(5)]
        torch.testing.assert_close(bias_HTS[head], torch.tensor(expected))


BIASES = {
    "alibi": lambda: AlibiBias(2),
    "relative, causal": lambda: RelativeBias(num_heads=2, causal=True),
    "relative, both ways": lambda: RelativeBias(num_heads=2, causal=False),
}


@pytest.mark.parametrize("name", BIASES)
def test_the_bias_of_later_queries_is_the_rest_of_all_queries(name: str) -> None:
    positions = BIASES[name]()
    for parameter in positions.parameters():
        torch.nn.init.normal_(parameter)
    full_HTS = positions.bias(0, 40, 40)
    assert torch.equal(positions.bias(30, 4, 40), full_HTS[:, 30:34])
    for step in (0, 1, 39):  # as in decoding: one query, and the keys so far
        assert torch.equal(positions.bias(step, 1, step + 1), full_HTS[:, step : step + 1, : step + 1])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("score", ScoreKind, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", BIASES)
def test_attention_adds_the_bias_to_the_scores(name: str, score: ScoreKind, causal: bool) -> None:
    attention = biased_attention(BIASES[name](), score)
    hidden_BTD = random_tensor(2, 5, 6)
    mask_BTS = causal_mask(5).expand(2, 5, 5) if causal else length_mask(torch.tensor([5, 3]), 5)[:, None]
    options = {"causal": True} if causal else {"mask_BTS": mask_BTS}
    weights_BHTS = attention.weights(hidden_BTD, hidden_BTD, **options)

    query_BHTK, key_BHSK = (
        projection(hidden_BTD).view(2, 5, 2, 3).transpose(1, 2) for projection in (attention.query, attention.key)
    )
    exponential_BHTS = (attention.score(query_BHTK, key_BHSK) + attention.positions.bias(0, 5, 5)).exp()
    allowed_BHTS = exponential_BHTS * mask_BTS.unsqueeze(1)
    expected_BHTS = allowed_BHTS / allowed_BHTS.sum(-1, keepdim=True)
    torch.testing.assert_close(weights_BHTS, expected_BHTS, rtol=0, atol=1e-12)


def biased_attention(positions: AttentionPositions, score: ScoreKind) -> MultiHeadAttention:
    torch.manual_seed(0)
    attention = MultiHeadAttention(
        width=6,
        shape=AttentionShape(num_heads=2, kv_heads=2, key_dim=3, value_dim=3),
        score=build_score(score, num_heads=2, key_dim=3),
        positions=positions,
        dropout=0.0,
    ).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention


def test_the_encoder_looks_both_ways_and_the_decoder_back(tiny_model: MakeModel) -> None:
    model = tiny_model(positions=PositionKind.relative_bias)
    for layer, site, causal in (
        (model.encoder_layers[0], "attention", False),
        (model.decoder_layers[0], "self_attention", True),
    ):
        positions = layer.get_submodule(f"{site}.positions")
        assert isinstance(positions, RelativeBias)
        assert positions.causal is causal


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
