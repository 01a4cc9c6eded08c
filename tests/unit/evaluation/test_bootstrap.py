"""An interval must hold the truth as often as it says, and a p-value must be small as seldom as it says."""

import numpy as np
import pytest

from summarizer.errors import UserError
from summarizer.evaluation.bootstrap import aggregate, f1_difference, mean_differences
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores, Score, score_pairs


def same_score_everywhere(value: float) -> PairScores:
    return {rouge_type: Score(value, value, value) for rouge_type in ROUGE_TYPES}


def random_scores(count: int, seed: int = 0) -> list[PairScores]:
    values = np.random.default_rng(seed).random((count, 3))
    return [{rouge_type: Score(*map(float, row)) for rouge_type in ROUGE_TYPES} for row in values]


def test_bad_input_is_told_to_the_user() -> None:
    with pytest.raises(UserError, match=r"scores \(0\)"):
        aggregate([], seed=0)
    with pytest.raises(UserError, match=r"resamples \(0\)"):
        aggregate(random_scores(2), seed=0, resamples=0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    scores = random_scores(40)
    assert aggregate(scores, seed=3) == aggregate(scores, seed=3)
    assert aggregate(scores, seed=3) != aggregate(scores, seed=4)


def test_scoring_leaves_the_global_random_state_alone() -> None:
    before = np.random.get_state()
    score_pairs(["one two"], ["one two"])
    aggregate(random_scores(20), seed=0)
    after = np.random.get_state()
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_the_interval_holds_the_mean_of_the_examples(count: int) -> None:
    scores = random_scores(count, seed=count)
    for rouge_type, measure in aggregate(scores, seed=0).items():
        for interval, values in zip(measure, zip(*(row[rouge_type] for row in scores), strict=True), strict=True):
            assert interval.mean == pytest.approx(np.mean(values))
            assert interval.low - 1e-12 <= interval.mean <= interval.high + 1e-12


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    covered = 0
    for experiment in range(200):
        values = np.random.default_rng(experiment).beta(2, 5, size=60)  # skewed, as ROUGE-2 is
        f1 = aggregate([same_score_everywhere(float(value)) for value in values], seed=experiment, resamples=200)
        covered += f1["rouge1"].f1.low <= 2 / 7 <= f1["rouge1"].f1.high
    assert 0.90 <= covered / 200 <= 0.98


def test_the_difference_is_compared_example_by_example() -> None:
    baseline = random_scores(50)
    better = [{kind: Score(0.0, 0.0, score.f1 + 0.01) for kind, score in example.items()} for example in baseline]
    for difference in f1_difference(better, baseline, seed=0, resamples=99).values():
        # Unpaired, the spread of the examples would drown a gain that every one of them shows.
        assert difference == pytest.approx((0.01, 0.01, 0.01, 2 / 100))


def test_two_systems_that_never_differ_have_a_p_of_one() -> None:
    scores = random_scores(20)
    for difference in f1_difference(scores, scores, seed=0).values():
        assert difference == (0.0, 0.0, 0.0, 1.0)


def test_exchanging_the_systems_changes_only_the_sign() -> None:
    one, other = random_scores(30, seed=1), random_scores(30, seed=2)
    for kind, there in f1_difference(one, other, seed=3).items():
        back = f1_difference(other, one, seed=3)[kind]
        assert (back.mean, back.low, back.high, back.p) == pytest.approx(
            (-there.mean, -there.high, -there.low, there.p)
        )


def test_equal_systems_are_called_different_about_5_times_in_100() -> None:
    """With as many columns as experiments: each is a comparison of two systems of the same quality."""
    columns = np.random.default_rng(0).normal(0, 0.1, size=(60, 500)) ** 3  # symmetric, with heavy tails
    p = np.array([difference.p for difference in mean_differences(columns, seed=0, resamples=400)])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.4 <= (p < 0.5).mean() <= 0.6, "p must be spread evenly, not only small as seldom"


def test_a_real_difference_is_found() -> None:
    columns = np.random.default_rng(1).normal(0.05, 0.1, size=(60, 200))
    p = np.array([difference.p for difference in mean_differences(columns, seed=0, resamples=400)])
    assert (p < 0.05).mean() > 0.9


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_few_examples_cannot_tell_more_than_their_signs_do(count: int) -> None:
    """That all of them favour one of two equal systems happens in 2 of 2^n cases."""
    (difference,) = mean_differences(np.full((count, 1), 0.1), seed=0, resamples=1000)
    assert difference.p == pytest.approx(2 / 2**count)
