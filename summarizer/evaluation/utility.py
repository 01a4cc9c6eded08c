"""ROUGE as what minimum Bayes risk decoding maximises."""

from collections.abc import Sequence

from summarizer.evaluation.rouge import score_pairs

_TYPES = ("rouge1", "rouge2", "rougeLsum")


def rouge_utility(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-Lsum of each candidate against the text beside it, 0 to 1."""
    scores = score_pairs(references, candidates)
    return [sum(score[name].f1 for name in _TYPES) / len(_TYPES) for score in scores]
