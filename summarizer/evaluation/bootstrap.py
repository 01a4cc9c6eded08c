"""Scores of examples in, means with 95% intervals and paired differences with their p-values out.

Percentile bootstrap over examples (Efron & Tibshirani 1993, chapters 13 and 15; for system comparisons Koehn 2004,
"Statistical significance tests for machine translation evaluation").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from summarizer.errors import UserError
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores

Matrix = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean over examples and the bounds of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


class Measure(NamedTuple):
    """One ROUGE type over a whole set of examples, each value between 0 and 1."""

    precision: Interval
    recall: Interval
    f1: Interval


class Difference(NamedTuple):
    """A mean over examples of one system's score minus the other's, its interval, and how surprising it would be."""

    mean: float
    low: float
    high: float
    p: float  # of a difference as large or larger, either way, between systems that are equally good


RougeSummary = dict[str, Measure]  # by ROUGE type


def aggregate(scores: Sequence[PairScores], *, seed: int, resamples: int = 1000) -> RougeSummary:
    """The mean of each measure over the examples, with its 95% percentile bootstrap interval.

    Raises:
        UserError: there are no scores, or ``resamples`` is below 1.
    """
    intervals = mean_intervals(_as_matrix(scores), seed=seed, resamples=resamples)
    return {rouge_type: Measure(*intervals[3 * place : 3 * place + 3]) for place, rouge_type in enumerate(ROUGE_TYPES)}


def f1_difference(
    scores: Sequence[PairScores], baseline: Sequence[PairScores], *, seed: int, resamples: int = 1000
) -> dict[str, Difference]:
    """F1 minus the baseline's F1 on the same examples, by ROUGE type, with a paired bootstrap interval.

    An interval without 0 says that the difference is more than the luck of which examples were drawn.
    """
    assert len(scores) == len(baseline), "a paired comparison needs the same examples on both sides"
    differences = (_as_matrix(scores) - _as_matrix(baseline))[:, 2::3]
    return dict(zip(ROUGE_TYPES, mean_differences(differences, seed=seed, resamples=resamples), strict=True))


def mean_intervals(values: Matrix, *, seed: int, resamples: int) -> list[Interval]:
    """One interval for each column of ``values`` (examples, columns)."""
    means = _resampled_means(values, seed=seed, resamples=resamples)
    lows, highs = np.percentile(means, [2.5, 97.5], axis=0)
    return [Interval(*map(float, column)) for column in zip(values.mean(axis=0), lows, highs, strict=True)]


def mean_differences(differences: Matrix, *, seed: int, resamples: int) -> list[Difference]:
    """One for each column of ``differences`` (examples, columns).

    p is twice the share of resamples whose mean lies on the other side of 0, the observed one counted among them:
    so it is never 0, and 1000 resamples cannot tell less than 0.002. Nor can few examples: that all of n lie on one
    side happens by chance 2^(1 - n) of the times.
    """
    means = _resampled_means(differences, seed=seed, resamples=resamples)
    lows, highs = np.percentile(means, [2.5, 97.5], axis=0)
    other_side = np.minimum((means <= 0).sum(axis=0), (means >= 0).sum(axis=0))
    least = 2.0 ** (1 - len(differences))
    ps = np.clip(2 * (other_side + 1) / (resamples + 1), min(least, 1.0), 1.0)
    return [Difference(*map(float, column)) for column in zip(differences.mean(axis=0), lows, highs, ps, strict=True)]


def _as_matrix(scores: Sequence[PairScores]) -> Matrix:
    """(examples, 3 x ROUGE types): precision, recall and F1 of the first type, then of the next."""
    if not scores:
        raise UserError("scores (0) must be at least 1; a mean needs one example or more")
    return np.array([[value for rouge_type in ROUGE_TYPES for value in row[rouge_type]] for row in scores])


def _resampled_means(values: Matrix, *, seed: int, resamples: int) -> Matrix:
    """(resamples, columns) means of as many rows, drawn with replacement.

    From a generator of its own: ``rouge-score``'s aggregator draws from numpy's global one, and an evaluation would
    then change the training after it.
    """
    if resamples < 1:
        raise UserError(f"resamples ({resamples}) must be at least 1; 1000 is usual")
    generator = np.random.default_rng(seed)
    count = len(values)
    means = np.empty((resamples, values.shape[1]))
    for resample in range(resamples):
        # How often each example was drawn: weighing by it copies no rows, whatever the number of examples.
        draws = np.bincount(generator.integers(count, size=count), minlength=count)
        means[resample] = draws @ values / count
    return means
