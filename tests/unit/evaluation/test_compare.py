"""Which of two is better is judged example by example, and told with its uncertainty."""

import random

import pytest

from summarizer.errors import UserError
from summarizer.evaluation.cases import Case
from summarizer.evaluation.compare import compare
from summarizer.evaluation.rouge import score_pairs
from summarizer.evaluation.tables import comparison_table, described_p

RNG = random.Random(0)
REFERENCES = [" ".join(RNG.choices("storm court vote fire team law bank road".split(), k=9)) for _ in range(40)]  # noqa: SIM905
CASES = [Case(str(number), "", (reference,)) for number, reference in enumerate(REFERENCES)]
GOOD = [reference + " extra" for reference in REFERENCES]
WORSE = [" ".join(reference.split()[:-1]) + " extra words" for reference in REFERENCES]


def test_the_difference_is_that_of_the_means() -> None:
    comparison = compare(CASES, GOOD, WORSE, resamples=200)
    for texts, summary in ((GOOD, comparison.first), (WORSE, comparison.second)):
        mean = sum(scores["rouge1"].f1 for scores in score_pairs(REFERENCES, texts)) / len(texts)
        assert summary["rouge1"].f1.mean == pytest.approx(mean)
    difference = comparison.difference["rouge1"]
    assert difference.mean == pytest.approx(comparison.first["rouge1"].f1.mean - comparison.second["rouge1"].f1.mean)
    assert difference.low > 0
    assert difference.p == pytest.approx(2 / 201)


def test_a_system_does_not_differ_from_itself() -> None:
    for difference in compare(CASES, GOOD, GOOD, resamples=50).difference.values():
        assert (difference.mean, difference.p) == (0.0, 1.0)


def test_the_table_and_the_data_tell_the_same() -> None:
    comparison = compare(CASES, GOOD, WORSE, resamples=200)
    table, data = comparison_table(comparison), comparison.metrics()
    assert all(len(line) <= 100 for line in table.splitlines())
    assert f"{100 * data['rouge2']['difference']:+.2f}" in table
    assert "< 0.01" in table
    assert data["examples"] == 40
    assert "200 resamples" in data["protocol"]
    assert "narrower" not in table
    few = comparison_table(compare(CASES[:29], GOOD[:29], WORSE[:29], resamples=200))
    assert "fewer than 30 examples: intervals are narrower than they should be" in few


def test_p_values_are_told_as_far_as_the_resamples_carry() -> None:
    assert described_p(2 / 1001, 1000) == "< 0.002"
    assert described_p(0.0319, 1000) == "0.032"
    assert described_p(0.42, 1000) == "0.42"


def test_bad_input_is_told_to_the_user() -> None:
    with pytest.raises(UserError, match=r"resamples \(0\)"):
        compare(CASES, GOOD, WORSE, resamples=0)
    with pytest.raises(UserError, match=r"predictions \(39\) must be as many"):
        compare(CASES, GOOD[1:], WORSE)
