"""ROUGE as what minimum Bayes risk decoding maximises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from summarizer.decoding.bayes_risk import Utility
from summarizer.evaluation.rouge import score_pairs
from summarizer.evaluation.words import ENGLISH

_TYPES = ("rouge1", "rouge2", "rougeLsum")


def rouge_utility(language: str = ENGLISH) -> Utility:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-Lsum of each candidate against the text beside it, 0 to 1.

    :param language: of the texts: by the words of another, all candidates may be equally bad.
    """
    return partial(_mean_f1, language=language)


def _mean_f1(candidates: Sequence[str], references: Sequence[str], language: str) -> list[float]:
    scores = score_pairs(references, candidates, language=language)
    return [sum(score[name].f1 for name in _TYPES) / len(_TYPES) for score in scores]
