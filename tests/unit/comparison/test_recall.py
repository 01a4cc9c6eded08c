"""The recall task: every question has one answer, which stands where the distance says."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from summarizer.comparison.recall import (
    NUM_KEYS,
    NUM_VALUES,
    VOCAB_SIZE,
    Questions,
    distance_range,
    draw_questions,
    shortest_length,
)


def drawn(batch_size: int, length: int, num_pairs: int, seed: int = 0) -> Questions:
    return draw_questions(batch_size, length, num_pairs, torch.Generator().manual_seed(seed))


@given(num_pairs=st.integers(1, NUM_KEYS), extra=st.integers(0, 30), seed=st.integers(0, 1000))
def test_the_answer_is_the_token_behind_the_only_other_occurrence_of_the_key(
    num_pairs: int, extra: int, seed: int
) -> None:
    length = shortest_length(num_pairs) + extra
    questions = drawn(3, length, num_pairs, seed)
    for row, tokens in enumerate(questions.token_BT.tolist()):
        context, asked = tokens[:-num_pairs], tokens[-num_pairs:]
        assert sorted(asked) == sorted(token for token in context if token < NUM_KEYS)
        assert len(set(asked)) == num_pairs
        for n, key in enumerate(asked):
            place = context.index(key) + 1
            assert context[place] == NUM_KEYS + questions.answer_BP[row, n]
            assert questions.distance_BP[row, n] == length - num_pairs + n - place
        assert sum(NUM_KEYS <= token < NUM_KEYS + NUM_VALUES for token in context) == num_pairs
        assert max(tokens) < VOCAB_SIZE


def test_far_and_near_are_asked_equally_often() -> None:
    distance = drawn(2000, 512, 1).distance_BP
    near, far = (((distance >= least) & (distance < 2 * least)).sum().item() for least in (8, 128))
    assert 0.7 < near / far < 1.4


def test_questions_come_in_an_order_of_their_own() -> None:
    distance_BP = drawn(100, 64, 8).distance_BP
    assert (distance_BP.diff(dim=1) > 0).any(dim=0).all()
    assert (distance_BP.diff(dim=1) < 0).any(dim=0).all()


def test_sequences_depend_on_the_generator_alone() -> None:
    first, again, other = (drawn(4, 40, 3, seed).token_BT for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_distances_are_named_by_their_range() -> None:
    assert [distance_range(least) for least in (1, 2, 256)] == ["1", "2-3", "256-511"]
