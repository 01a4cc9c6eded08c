"""References and predictions in; ROUGE per pair, and the mean with a bootstrap interval, out.

The numbers are those of the ``rouge-score`` package. Papers' "ROUGE-L" on CNN/DailyMail is our rougeLsum.
"""

import functools
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize
from rouge_score.tokenizers import porter

from summarizer.errors import UserError

logger = logging.getLogger(__name__)

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")

PROTOCOL = (
    f"rouge-score {version('rouge-score')}; Porter stemmer (nltk {version('nltk')}); "
    "default tokenizer, a-z and 0-9 only; rougeLsum sentences split at newlines; "
    "raw, untruncated references; mean of per-example scores"
)

_PAIRS_PER_TASK = 64  # what a worker process receives at a time: enough to hide the cost of sending it
_MOST_STEMS = 1 << 18  # bounds the memory of the stem cache (about 40 MB); a news vocabulary fits
_TEXTS_LOOKED_AT = 1000  # of which the share of unreadable words is estimated
_UNREADABLE_SHARE = 0.1  # English news has less than 0.01, French about 0.2, Vietnamese most


class Score(NamedTuple):
    """ROUGE of one pair, each value between 0 and 1."""

    precision: float
    recall: float
    f1: float


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


PairScores = dict[str, Score]  # by ROUGE type
RougeSummary = dict[str, Measure]  # by ROUGE type


def protocol(*, seed: int, resamples: int) -> str:
    """All that another person must know to obtain the same numbers; stored beside every result."""
    return f"{PROTOCOL}; 95% percentile bootstrap over examples, {resamples} resamples, seed {seed}"


def score_pairs(references: Sequence[str], predictions: Sequence[str], processes: int = 1) -> list[PairScores]:
    """ROUGE of each prediction against the reference beside it; the number of processes changes no number.

    More than one process pays from a few thousand pairs on; as always with ``multiprocessing``, the script
    that calls this must then start under ``if __name__ == "__main__"``.

    Raises:
        UserError: the two sequences differ in length, or ``processes`` is below 1.
    """
    if len(references) != len(predictions):
        raise UserError(
            f"predictions ({len(predictions)}) must be as many as references ({len(references)}); "
            "give one prediction for each reference, in the same order"
        )
    if processes < 1:
        raise UserError(f"processes ({processes}) must be at least 1; 1 scores in this process")
    _warn_of_deleted_letters(references)
    if processes == 1:
        return [_score_pair(*pair) for pair in zip(references, predictions, strict=True)]
    # Spawned, because forking a process that has run torch or CUDA threads can hang the child.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_score_pair, references, predictions, chunksize=_PAIRS_PER_TASK))


def aggregate(scores: Sequence[PairScores], *, seed: int, resamples: int = 1000) -> RougeSummary:
    """The mean of each measure over the examples, with its 95% percentile bootstrap interval.

    Raises:
        UserError: there are no scores, or ``resamples`` is below 1.
    """
    values = _as_matrix(scores)
    intervals = _intervals(values, seed=seed, resamples=resamples)
    return {rouge_type: Measure(*intervals[3 * place : 3 * place + 3]) for place, rouge_type in enumerate(ROUGE_TYPES)}


def f1_difference(
    scores: Sequence[PairScores], baseline: Sequence[PairScores], *, seed: int, resamples: int = 1000
) -> dict[str, Interval]:
    """F1 minus the baseline's F1 on the same examples, by ROUGE type, with a paired bootstrap interval.

    An interval without 0 says that the difference is more than the luck of which examples were drawn.
    """
    assert len(scores) == len(baseline), "a paired comparison needs the same examples on both sides"
    differences = (_as_matrix(scores) - _as_matrix(baseline))[:, 2::3]
    return dict(zip(ROUGE_TYPES, _intervals(differences, seed=seed, resamples=resamples), strict=True))


class StemCachingTokenizer:
    """The tokenizer of ``rouge-score`` with its stemmer, remembering each word's stem."""

    def __init__(self) -> None:
        self.stem = functools.lru_cache(_MOST_STEMS)(porter.PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        # The package asks its second argument for nothing but .stem(word).
        tokens: list[str] = tokenize(text, self)
        return tokens


@functools.cache
def _scorer() -> RougeScorer:
    """One scorer, and so one stem cache, in each process."""
    return RougeScorer(list(ROUGE_TYPES), tokenizer=StemCachingTokenizer())


def _score_pair(reference: str, prediction: str) -> PairScores:
    scores = _scorer().score(reference, prediction)
    return {rouge_type: Score(*map(float, score)) for rouge_type, score in scores.items()}


def _as_matrix(scores: Sequence[PairScores]) -> npt.NDArray[np.float64]:
    """(examples, 3 x ROUGE types): precision, recall and F1 of the first type, then of the next."""
    if not scores:
        raise UserError("scores (0) must be at least 1; a mean needs one example or more")
    return np.array([[value for rouge_type in ROUGE_TYPES for value in row[rouge_type]] for row in scores])


def _intervals(values: npt.NDArray[np.float64], *, seed: int, resamples: int) -> list[Interval]:
    """One interval for each column of ``values`` (examples, columns).

    Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) with a generator of its own: ``rouge-score``'s
    aggregator draws from numpy's global one, and an evaluation would then change the training after it.
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
    lows, highs = np.percentile(means, [2.5, 97.5], axis=0)
    columns = zip(values.mean(axis=0), lows, highs, strict=True)
    return [Interval(float(mean), float(low), float(high)) for mean, low, high in columns]


def _warn_of_deleted_letters(texts: Sequence[str]) -> None:
    words = [word for text in texts[:_TEXTS_LOOKED_AT] for word in text.split()]
    unreadable = sum(not word.isascii() and any(_is_deleted(letter) for letter in word) for word in words)
    if unreadable > _UNREADABLE_SHARE * len(words):
        _warn_once(
            f"{unreadable / len(words):.0%} of the reference words hold letters other than a-z, which "
            "rouge-score's tokenizer deletes: these scores are too low or too random to compare with others"
        )


def _is_deleted(letter: str) -> bool:
    return letter.isalpha() and not letter.isascii()


@functools.cache
def _warn_once(message: str) -> None:
    """The same validation set is scored many times in one training run."""
    logger.warning(message)
