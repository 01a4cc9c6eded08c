"""References and a prediction in, ROUGE-1, -2, -L and -Lsum out: the numbers of ``rouge-score``, to the last digit.

Only faster: each text is cut into words once for all types, stems are remembered, and subsequences are found in the
bits of integers. Papers' "ROUGE-L" on CNN/DailyMail is our rougeLsum.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import NamedTuple, TypeVar

from summarizer.errors import UserError
from summarizer.evaluation.lcs import lcs_length, lcs_places, places_of
from summarizer.evaluation.words import ENGLISH, Words, describe_words, words_of
from summarizer.evaluation.workers import Workers

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Hashable)

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
ROUGE_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}

_TEXTS_LOOKED_AT = 1000  # of which the share of unreadable words is estimated
_UNREADABLE_SHARE = 0.1  # English news has less than 0.01, French about 0.2, Vietnamese most


class Score(NamedTuple):
    """ROUGE of one pair, each value between 0 and 1."""

    precision: float
    recall: float
    f1: float


PairScores = dict[str, Score]  # by ROUGE type
References = str | Sequence[str]  # one, or several of which the best counts


def protocol(*, seed: int, resamples: int, language: str = ENGLISH, most_references: int = 1) -> str:
    """All that another person must know to obtain the same numbers; stored beside every result."""
    best = f"best F1 of up to {most_references} references by type; " if most_references > 1 else ""
    return (
        f"rouge-score {version('rouge-score')}; {describe_words(language)}; rougeLsum sentences split at newlines; "
        f"raw, untruncated references; {best}mean of per-example scores; "
        f"95% percentile bootstrap over examples, {resamples} resamples, seed {seed}"
    )


def score_pairs(
    references: Sequence[References],
    predictions: Sequence[str],
    processes: int = 1,
    *,
    language: str = ENGLISH,
    workers: Workers | None = None,
) -> list[PairScores]:
    """ROUGE of each prediction against the reference beside it; the number of processes changes no number.

    :param processes: that share the work from a thousand or so pairs on.
    :param workers: processes to use instead, which are there already.

    Raises UserError if there are not as many predictions as references, or the language is not known.
    """
    if len(references) != len(predictions):
        raise UserError(f"predictions ({len(predictions)}) must be as many as references ({len(references)})")
    words_of(language)
    if language == ENGLISH:
        _warn_of_deleted_letters(references)
    pairs = list(zip(references, predictions, strict=True))
    chunk_scores = functools.partial(_score_chunk, language=language)
    if workers is not None:
        return workers.map(chunk_scores, pairs, "scoring")
    with Workers(processes) as own:
        return own.map(chunk_scores, pairs, "scoring")


def score_prediction(references: References, prediction: str, words: Words) -> PairScores:
    """ROUGE of one prediction; of several references, each type takes the one with the best F1."""
    if isinstance(references, str):
        return _score_pair(_Text.of(references, words), _Text.of(prediction, words))
    candidate = _Text.of(prediction, words)
    by_reference = [_score_pair(_Text.of(reference, words), candidate) for reference in references]
    return {kind: max((scores[kind] for scores in by_reference), key=lambda score: score.f1) for kind in ROUGE_TYPES}


def precision_recall_f1(hits: int, reference_count: int, candidate_count: int) -> Score:
    """With the rounding of ``rouge-score``: every division where it has one."""
    recall = hits / max(reference_count, 1)
    precision = hits / max(candidate_count, 1)
    return Score(precision, recall, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0)


def common_count(first: Counter[T], second: Counter[T]) -> int:
    """Size of the intersection as multisets."""
    smaller, larger = (first, second) if len(first) <= len(second) else (second, first)
    return sum([min(count, larger[item]) for item, count in smaller.items() if item in larger])


class _Text(NamedTuple):
    """A text as ROUGE sees it."""

    lines: list[list[str]]  # the words of each line that is not empty
    words: list[str]  # of all lines: no word spans two of them
    counts: Counter[str]

    @classmethod
    def of(cls, text: str, words: Words) -> _Text:
        lines = [words(line) for line in text.split("\n") if line]
        together = [word for line in lines for word in line]
        return cls(lines, together, Counter(together))


def _score_chunk(pairs: Sequence[tuple[References, str]], language: str) -> list[PairScores]:
    words = words_of(language)
    return [score_prediction(references, prediction, words) for references, prediction in pairs]


def _score_pair(reference: _Text, candidate: _Text) -> PairScores:
    m, n = len(reference.words), len(candidate.words)
    bigrams = common_count(Counter(pairwise(reference.words)), Counter(pairwise(candidate.words)))
    return {
        "rouge1": precision_recall_f1(common_count(reference.counts, candidate.counts), m, n),
        "rouge2": precision_recall_f1(bigrams, m - 1, n - 1),
        "rougeL": precision_recall_f1(lcs_length(places_of(reference.words), m, candidate.words), m, n),
        "rougeLsum": precision_recall_f1(_union_hits(reference, candidate), m, n),
    }


def _union_hits(reference: _Text, candidate: _Text) -> int:
    """Words of the reference in common subsequences of its lines with any line of the candidate (Lin 2004, 3.2).

    As in ROUGE-1.5.5, a word counts no more often than the candidate has it.
    """
    union: Counter[str] = Counter()
    for line in reference.lines:
        places = places_of(line)
        taken = 0
        for other in candidate.lines:
            taken |= lcs_places(places, len(line), other)
        union.update([word for place, word in enumerate(line) if taken >> place & 1])
    return common_count(union, candidate.counts)


def _warn_of_deleted_letters(references: Sequence[References]) -> None:
    texts = [each if isinstance(each, str) else " ".join(each) for each in references[:_TEXTS_LOOKED_AT]]
    words = [word for text in texts for word in text.split()]
    unreadable = sum(not word.isascii() and any(_is_deleted(letter) for letter in word) for word in words)
    if unreadable > _UNREADABLE_SHARE * len(words):
        _warn_once(
            f"{unreadable / len(words):.0%} of the reference words hold letters other than a-z, which "
            "rouge-score's tokenizer deletes: these scores are too low or too random to compare with others; "
            "name their language to keep its letters: language=vi in evaluate.py, validation.language=vi in training"
        )


def _is_deleted(letter: str) -> bool:
    return letter.isalpha() and not letter.isascii()


@functools.cache
def _warn_once(message: str) -> None:
    """The same validation set is scored many times in one training run."""
    logger.warning(message)
