"""Samples of a document in, the same ordered by how much they resemble one another out: minimum Bayes risk decoding."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from summarizer.decoding.search import Hypothesis

Utility = Callable[[Sequence[str], Sequence[str]], list[float]]
"""How good each candidate is if the text beside it is right: candidates and such texts in, numbers out."""


def by_expected_utility(
    samples: Sequence[Hypothesis], decode: Callable[[list[int]], str], utility: Utility
) -> list[Hypothesis]:
    """The different ones of ``samples``, best first; the score of each is its mean utility against all of them.

    The samples stand for what the model believes a summary could be, so the mean is the utility to be expected of a
    candidate (Eikema & Aziz 2020, https://arxiv.org/abs/2005.10283). Among equals, the first one drawn wins.
    """
    texts = [decode(sample.ids) for sample in samples]
    first_of = dict(zip(reversed(texts), reversed(samples), strict=True))
    candidates = list(dict.fromkeys(texts))
    pairs = [(candidate, text) for candidate in candidates for text in candidates]
    values = dict(zip(pairs, utility(*map(list, zip(*pairs, strict=True))), strict=True))
    expected = {one: sum(values[one, text] for text in texts) / len(texts) for one in candidates}
    best = sorted(candidates, key=lambda candidate: -expected[candidate])
    return [replace(first_of[text], score=expected[text]) for text in best]
