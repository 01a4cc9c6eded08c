"""Sampling: the right frequencies, the right candidates, and a result that is a document's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.sampling import draw, filtered, sample
from summarizer.decoding.search import Draft, Hypothesis, SpecialIds

START, END = 0, 1
SPECIAL = SpecialIds(start=START, end=END, never=(START,))
VOCABULARY = 12


def config_with(**settings: float | int) -> DecodingConfig:
    return DecodingConfig(method=DecodingMethod.sample, **{"no_repeat_ngram_size": 0, "max_tokens": 10, **settings})


class Documents:
    """Each document has its own table of logits, by the token before and the step."""

    def __init__(self, documents: list[int], num_samples: int = 1) -> None:
        self._documents = documents
        self._num_samples = num_samples
        self.sizes: list[int] = []

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        assert token_BW.shape == (len(self._documents), self._num_samples)
        self.sizes.append(len(self._documents))
        rows = zip(self._documents, token_BW.tolist(), strict=True)
        return torch.stack([torch.cat([self._logits(d, token, step) for token in tokens]) for d, tokens in rows])

    def _logits(self, document: int, token: int, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(document * 10_000 + token * 100 + step)
        return torch.randn(1, VOCABULARY, generator=generator)

    def penalty(self) -> None: ...

    def reorder(self, parent_BW: Tensor) -> None:
        raise AssertionError("sampling follows one hypothesis per document")

    def keep(self, documents_B: Tensor) -> None:
        self._documents = [self._documents[row] for row in documents_B.tolist()]


def drawn(
    documents: list[int], config: DecodingConfig, count: int, following: Documents | None = None, **more: Any
) -> list[list[Hypothesis]]:
    """``count`` samples of each document."""
    return sample(
        following or Documents(documents, count),
        seeds=[[document + 1000 * number for number in range(count)] for document in documents],
        config=config,
        special=SPECIAL,
        device=torch.device("cpu"),
        **more,
    )


def sampled(documents: list[int], config: DecodingConfig, following: Documents | None = None) -> list[Hypothesis]:
    return [one for (one,) in drawn(documents, config, 1, following)]


def filtered_by_hand(probabilities: list[float], config: DecodingConfig) -> list[float]:
    powers = [p ** (1 / config.temperature) for p in probabilities]
    order = sorted(range(len(powers)), key=lambda token: (-powers[token], token))
    kept = order[: config.top_k] if config.top_k else order
    total = sum(powers[token] for token in kept)
    shares = itertools.accumulate(powers[token] / total for token in kept)
    needed = next((i for i, share in enumerate(shares, start=1) if share >= config.top_p), len(kept))
    kept = [token for token in kept[:needed] if powers[token] >= config.min_p * powers[kept[0]]]
    total = sum(powers[token] for token in kept)
    return [powers[token] / total if token in kept else 0.0 for token in range(len(powers))]


@settings(max_examples=200, deadline=None)
@given(
    weights=st.lists(st.integers(1, 1000), min_size=2, max_size=10),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    top_k=st.integers(0, 12),
    top_p=st.sampled_from([0.1037, 0.5123, 0.9017, 1.0]),
    min_p=st.sampled_from([0.0, 0.0537, 0.4123]),
)
def test_filters_keep_the_tokens_that_plain_python_keeps(
    weights: list[int], temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    config = config_with(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    probabilities = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    weight_BV, token_BV = filtered(probabilities.log()[None], config)
    found = torch.zeros_like(weight_BV).scatter(1, token_BV, weight_BV / weight_BV.sum())[0]
    expected = torch.tensor(filtered_by_hand(probabilities.tolist(), config), dtype=torch.float64)
    assert torch.allclose(found, expected)


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    probability_V = torch.tensor([0.4, 0.3, 0.0, 0.2, 0.07, 0.03])
    draws = 20_000
    uniform_B = torch.rand(draws, generator=torch.Generator().manual_seed(1))
    weight_V, token_V = probability_V.sort(descending=True)
    tokens = draw(weight_V.expand(draws, -1), token_V.expand(draws, -1), uniform_B)
    counts = torch.bincount(tokens, minlength=6)
    assert counts[2] == 0
    expected = draws * probability_V[probability_V > 0]
    chi_square = ((counts[probability_V > 0] - expected) ** 2 / expected).sum()
    assert chi_square < 18.5  # 4 degrees of freedom: exceeded by chance once in 1,000


def test_the_ends_of_the_unit_interval_draw_tokens_that_have_weight() -> None:
    weight_BV = torch.tensor([[0.7, 0.3, 0.0, 0.0]]).expand(2, -1)
    token_BV = torch.tensor([[3, 1, 0, 2]]).expand(2, -1)
    assert draw(weight_BV, token_BV, torch.tensor([0.0, 1.0])).tolist() == [3, 1]


def test_whole_summaries_are_drawn_as_often_as_they_are_probable() -> None:
    class TwoSteps:
        """After the start: a with 3/4, b with 1/4. After a: a or end with 1/2 each; after b: end."""

        def __call__(self, token_BW: Tensor, step: int) -> Tensor:
            rows = {START: [0, 0, 3, 1], 2: [0, 1, 1, 0], 3: [0, 1, 0, 0]}
            return torch.tensor([[rows[token] for token in tokens] for tokens in token_BW.tolist()]).float().log()

        def penalty(self) -> None: ...

        def reorder(self, parent_BW: Tensor) -> None: ...

        def keep(self, documents_B: Tensor) -> None: ...

    (found,) = sample(
        TwoSteps(),
        seeds=[range(4000)],
        config=config_with(max_tokens=2, length_penalty=0.0),
        special=SPECIAL,
        device=torch.device("cpu"),
    )
    share = {ids: sum(one.ids == list(ids) for one in found) / 4000 for ids in [(2,), (2, 2), (3,)]}
    assert share == pytest.approx({(2,): 0.375, (2, 2): 0.375, (3,): 0.25}, abs=0.03)
    assert {round(one.score, 4) for one in found if one.ids == [3]} == {-1.3863}


def test_a_sample_does_not_depend_on_the_batch_or_its_order() -> None:
    config = config_with(top_p=0.9)
    documents = list(range(30))
    together = sampled(documents, config)
    assert together == [sampled([document], config)[0] for document in documents]
    assert together == sampled(documents[::-1], config)[::-1]
    assert len({tuple(one.ids) for one in together}) > 20


def test_samples_of_one_document_do_not_depend_on_one_another() -> None:
    config = config_with(top_p=0.9)
    documents = list(range(10))
    together = drawn(documents, config, 3)
    assert [found[0] for found in together] == sampled(documents, config)
    assert len({tuple(one.ids) for found in together for one in found}) > 15
    for document, found in zip(documents, together, strict=True):
        assert found == drawn([document], config, 3)[0]
        assert found[:2] == drawn([document], config, 2)[0]
        for one in found:
            assert one.log_probability == pytest.approx(log_probability(document, one), rel=1e-4)
            assert one.score == pytest.approx(one.log_probability / (len(one.ids) + one.ended), rel=1e-4)


def log_probability(document: int, one: Hypothesis) -> float:
    tokens = [*one.ids, END] if one.ended else one.ids
    previous = [START, *tokens[:-1]]
    rows = [Documents([document])(torch.tensor([[token]]), step)[0, 0] for step, token in enumerate(previous)]
    return sum(float(row.log_softmax(-1)[token]) for row, token in zip(rows, tokens, strict=True))


def test_samples_begin_with_the_prefix_and_go_on_as_the_model_says() -> None:
    config = config_with(top_k=1)
    prefix = [7, 7, 4]
    for document, (one,) in enumerate(drawn(list(range(10)), config, 1, prefix=prefix)):
        assert one.ids[:3] == prefix
        assert one.log_probability == pytest.approx(log_probability(document, one), rel=1e-4)
        following = Documents([document])(torch.tensor([[4]]), 3)[0, 0]
        following[START] = -torch.inf
        assert [*one.ids, END][3] == int(following.argmax())


def test_each_step_shows_the_first_sample_of_each_document_not_yet_done() -> None:
    drafts: dict[int, list[Hypothesis]] = {document: [] for document in range(10)}

    def observe(seen: Sequence[Draft]) -> None:
        for draft in seen:
            drafts[draft.document].append(draft.hypothesis)

    found = drawn(list(range(10)), config_with(max_tokens=12), 2, observe=observe)
    for document, (first, other) in enumerate(found):
        steps = max(len(one.ids) + one.ended for one in (first, other))
        assert len(drafts[document]) == steps
        assert drafts[document][-1] == first
        for step, draft in enumerate(drafts[document], start=1):
            assert draft.ids == first.ids[:step]
            assert draft.ended == (first.ended and step > len(first.ids))


def test_samples_respect_the_token_rules_and_finished_documents_leave() -> None:
    config = config_with(min_tokens=2, no_repeat_ngram_size=1)
    following = Documents(list(range(40)))
    found = sampled(list(range(40)), config, following)
    assert all(2 <= len(one.ids) <= 10 and len(set(one.ids)) == len(one.ids) for one in found)
    assert not any({START, END} & set(one.ids) for one in found)
    assert following.sizes == sorted(following.sizes, reverse=True)
    assert following.sizes[-1] < 40


def test_drawing_from_the_single_best_token_is_greedy() -> None:
    for document, found in enumerate(sampled(list(range(10)), config_with(top_k=1))):
        token = START
        for step, expected in enumerate([*found.ids, END][:10]):
            logits_V = Documents([document])(torch.tensor([[token]]), step)[0, 0]
            logits_V[START] = -torch.inf
            token = int(logits_V.argmax())
            assert token == expected
