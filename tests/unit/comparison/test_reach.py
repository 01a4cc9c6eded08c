"""Training and testing on the recall task: seeded, sorted by distance, and able to tell far from near."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summarizer.comparison import reach
from summarizer.comparison.mechanisms import parse_mechanism
from summarizer.comparison.reach import Reach, RecallConfig, learning_rate_factor, measure_reach
from summarizer.comparison.recall import NUM_KEYS, NUM_VALUES, Questions, draw_questions
from summarizer.errors import UserError
from summarizer.runtime import Precision, Runtime

RUNTIME = Runtime(torch.device("cpu"), Precision.fp32)


def measured(name: str, seed: int = 1, width: int = 32, **changes: Any) -> Reach:
    small = {"steps": 3, "batch_size": 4, "train_length": 16, "test_lengths": [16, 40], "max_pairs": 3}
    config = RecallConfig(**{**small, "test_pairs": 2, "test_sequences": 50, **changes})
    config.validate()
    mechanism = parse_mechanism(name)
    return measure_reach(
        mechanism, config, width=width, num_heads=width // 16, seed=seed, runtime=RUNTIME, on_step=lambda: None
    )


class NearSighted(nn.Module):
    """Knows all answers that stand less than 8 tokens back, and gives a wrong one to all other questions."""

    def forward(self, token_BT: Tensor, num_questions: int) -> Tensor:
        logits_BPV = torch.zeros(len(token_BT), num_questions, NUM_VALUES)
        for row, tokens in enumerate(token_BT.tolist()):
            for n in range(num_questions):
                question = len(tokens) - num_questions + n
                value = tokens.index(tokens[question]) + 1
                answer = tokens[value] - NUM_KEYS
                logits_BPV[row, n, answer if question - value < 8 else answer - 1] = 1
        return logits_BPV


def test_answers_are_sorted_by_distance() -> None:
    config = RecallConfig(test_sequences=100)
    right, distance = reach._test(NearSighted(), config, 64, 4, 1, RUNTIME)
    by_distance = reach._by_distance(right, distance)
    assert {least: accuracy.share for least, accuracy in by_distance.items()} == {
        1: 1, 2: 1, 4: 1, 8: 0, 16: 0, 32: 0,
    }  # fmt: skip
    assert sum(accuracy.questions for accuracy in by_distance.values()) == reach._accuracy(right).questions == 400


def test_results_depend_on_the_seed_alone() -> None:
    first, again, other = (measured("lstm", seed) for seed in (1, 1, 2))
    assert (first.by_distance, first.by_pairs, first.loss) == (again.by_distance, again.by_pairs, again.loss)
    assert first.loss != other.loss


def test_every_length_and_every_number_of_pairs_is_tested() -> None:
    found = measured("convolution", max_pairs=4)
    assert list(found.by_length) == list(found.by_distance) == [16, 40]
    assert list(found.by_pairs) == [1, 2, 4]
    assert found.by_length[16].questions == 50 * 2


def test_the_test_is_not_drawn_as_the_training_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def draw(batch_size: int, length: int, num_pairs: int, generator: torch.Generator) -> Questions:
        seeds.append(generator.initial_seed())
        return draw_questions(batch_size, length, num_pairs, generator)

    monkeypatch.setattr(reach, "draw_questions", draw)
    measured("lstm", steps=4)
    trained, tested = seeds[:4], seeds[4:]
    assert len(tested) >= 2
    assert not set(trained) & set(tested)


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_almost_nothing() -> None:
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert max(factors) == factors[9] == 1
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert 0 < factors[-1] < 0.02
    assert learning_rate_factor(0, 1) == 1


@pytest.mark.slow
def test_attention_learns_to_reach_and_a_convolution_to_see_near() -> None:
    settings = {"width": 64, "steps": 700, "batch_size": 32, "train_length": 32, "test_lengths": [128], "max_pairs": 8}
    attention, convolution = (
        measured(name, **settings, test_pairs=4, test_sequences=200).by_distance[128]
        for name in ("scaled_dot+alibi", "convolution")
    )
    assert all(accuracy.share > 0.9 for accuracy in attention.values())
    assert convolution[2].share > 0.5
    assert all(convolution[least].share < 0.2 for least in (8, 16, 32, 64))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, ["recall.steps (0)", "at least 1"]),
        ({"max_pairs": 17}, ["recall.max_pairs (17)", "at most 16"]),
        ({"lr": float("nan")}, ["recall.lr (nan)", "try recall.lr="]),
        ({"train_length": 31}, ["recall.train_length (31)", "at least 32", "recall.max_pairs (8)"]),
        ({"test_lengths": []}, ["recall.test_lengths ([])", "try"]),
        ({"test_lengths": [64, 11]}, ["recall.test_lengths (11)", "at least 12"]),
    ],
)
def test_a_task_that_cannot_be_set_is_refused(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        RecallConfig(**changes).validate()
    assert all(word in str(refusal.value) for word in words)
