"""Minimum Bayes risk decoding against the sum over a whole tiny space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.decoding.bayes_risk import by_expected_utility
from summarizer.decoding.search import Hypothesis
from summarizer.evaluation.utility import rouge_utility


def decode(ids: list[int]) -> str:
    return " ".join("abc"[i] for i in ids)


def overlap(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """Not symmetric, so that a mix-up shows."""
    pairs = zip(candidates, references, strict=True)
    return [len(set(one.split()) & set(other.split())) / (1 + len(one.split())) for one, other in pairs]


def drawn(rows: list[list[int]]) -> list[Hypothesis]:
    return [Hypothesis(ids, -1.0, -float(number), True) for number, ids in enumerate(rows)]


@given(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=8))
def test_candidates_come_by_their_mean_utility_against_every_sample(rows: list[list[int]]) -> None:
    found = by_expected_utility(drawn(rows), decode, overlap)
    assert sorted(map(tuple, {tuple(row) for row in rows})) == sorted(tuple(one.ids) for one in found)
    for one in found:
        expected = np.mean([overlap([decode(one.ids)], [decode(row)])[0] for row in rows])
        assert one.score == pytest.approx(expected)
        assert one.log_probability == -float(rows.index(one.ids))
    order = [(-one.score, rows.index(one.ids)) for one in found]
    assert [round(score, 9) for score, _ in order] == sorted(round(score, 9) for score, _ in order)


def test_many_samples_choose_what_the_whole_distribution_chooses() -> None:
    space = [[0], [1], [2], [0, 1], [0, 1, 2], [1, 2]]
    probability = np.array([0.3, 0.05, 0.05, 0.25, 0.2, 0.15])
    exact = [
        sum(p * overlap([decode(one)], [decode(other)])[0] for p, other in zip(probability, space, strict=True))
        for one in space
    ]
    choice = np.random.default_rng(0).choice(len(space), size=4000, p=probability)
    found = by_expected_utility(drawn([space[i] for i in choice]), decode, overlap)
    assert found[0].ids == space[int(np.argmax(exact))] != space[int(np.argmax(probability))]
    for one in found:
        assert one.score == pytest.approx(exact[space.index(one.ids)], abs=0.02)


def test_rouge_is_a_utility_between_nothing_and_all() -> None:
    same, part, none = rouge_utility()(["a cat sat", "a cat ran", "dogs"], ["a cat sat"] * 3)
    assert (same, none) == (1.0, 0.0)
    assert 0.3 < part < 0.7


def test_samples_are_compared_by_the_words_of_their_language() -> None:
    """By English words no text in Cyrillic is like another, and the first sample would win whatever it says."""
    texts = ["дождь шёл", "кошка спит дома", "кошка спит"]
    (worst, *others) = (Hypothesis([number], -1.0, -1.0, True) for number in range(3))
    found = by_expected_utility([worst, *others], lambda ids: texts[ids[0]], rouge_utility("ru"))
    assert found[-1].ids == worst.ids
    assert found[0].score > found[-1].score
