"""A document in, the extractive summaries to compare a model with: its first sentences, any, and its best ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice, pairwise

from summarizer.errors import UserError
from summarizer.evaluation.rouge import References, common_count, precision_recall_f1
from summarizer.evaluation.words import ENGLISH, words_of
from summarizer.sentences import sentences_of, split_sentences


def lead(document: str, num_sentences: int = 3) -> str:
    """The first sentences of a document, one a line: the baseline that news makes hard to beat."""
    _check_count(num_sentences)
    return "\n".join(islice(sentences_of(document), num_sentences))


def random_sentences(document: str, num_sentences: int = 3, *, seed: int = 0) -> str:
    """Sentences of the document drawn at random, in its order, one a line: what knowing nothing scores.

    The draw depends on the seed and the document alone, not on what else is evaluated.
    """
    _check_count(num_sentences)
    sentences = split_sentences(document)
    count = min(num_sentences, len(sentences))
    places = sorted(random.Random(f"{seed} {document}").sample(range(len(sentences)), count))
    return "\n".join(sentences[place] for place in places)


def oracle(document: str, references: References, max_sentences: int = 3, *, language: str = ENGLISH) -> str:
    """The sentences of the document, in its order, one a line, that greedily maximise ROUGE-1 + ROUGE-2 F1.

    About the best that extraction can reach (Liu & Lapata 2019, "Text Summarization with Pretrained
    Encoders"): the sentence that helps most is added until none helps. Greedy search can end below the
    first sentences, which would be a lower bar, so the better of the two is returned.
    """
    _check_count(max_sentences)
    words = words_of(language)
    sentences = split_sentences(document)
    sentence_words = [words(sentence) for sentence in sentences]
    targets = [references] if isinstance(references, str) else references
    overlaps = [_Overlap(words(target), sentence_words) for target in targets]

    def quality(places: Sequence[int]) -> float:
        both = [overlap.f1s(places) for overlap in overlaps]
        return max(unigram for unigram, _ in both) + max(bigram for _, bigram in both)

    with_words = [place for place, found in enumerate(sentence_words) if found]  # the others change nothing
    greedy = _grow_greedily(with_words, max_sentences, quality)
    first = with_words[:max_sentences]
    return "\n".join(sentences[place] for place in max(greedy, first, key=quality))


def oracles(pairs: Sequence[tuple[str, References]], max_sentences: int, language: str) -> list[str]:
    """:func:`oracle` of each document with its references, for other processes: they need no PyTorch for it."""
    return [oracle(document, references, max_sentences, language=language) for document, references in pairs]


class _Overlap:
    """What a choice of sentences has in common with a reference; only what the reference has is counted."""

    def __init__(self, reference: list[str], sentences: Sequence[list[str]]) -> None:
        self._length = len(reference)
        self._unigrams = Counter(reference)
        self._bigrams = Counter(pairwise(reference))
        self._lengths = [len(sentence) for sentence in sentences]
        self._own_unigrams = [[word for word in sentence if word in self._unigrams] for sentence in sentences]
        self._own_bigrams = [[pair for pair in pairwise(sentence) if pair in self._bigrams] for sentence in sentences]
        self._ends = [(sentence[0], sentence[-1]) if sentence else None for sentence in sentences]

    def f1s(self, places: Sequence[int]) -> tuple[float, float]:
        """ROUGE-1 and ROUGE-2 of the sentences at ``places``, which follow each other."""
        unigrams = Counter([word for place in places for word in self._own_unigrams[place]])
        bigrams = Counter([pair for place in places for pair in self._own_bigrams[place]])
        ends = [end for place in places if (end := self._ends[place]) is not None]
        bigrams.update([(before[1], after[0]) for before, after in pairwise(ends)])
        length = sum(self._lengths[place] for place in places)
        return (
            precision_recall_f1(common_count(unigrams, self._unigrams), self._length, length).f1,
            precision_recall_f1(common_count(bigrams, self._bigrams), self._length - 1, length - 1).f1,
        )


def _grow_greedily(places: Sequence[int], most: int, quality: Callable[[Sequence[int]], float]) -> list[int]:
    """The chosen of ``places``, ascending; among equals the earliest is chosen."""
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < most:
        candidates = [sorted([*chosen, place]) for place in places if place not in chosen]
        if not candidates:
            break
        qualities = [quality(candidate) for candidate in candidates]
        if max(qualities) <= best:
            break
        best = max(qualities)
        chosen = candidates[qualities.index(best)]
    return chosen


def _check_count(num_sentences: int) -> None:
    if num_sentences < 1:
        raise UserError(f"number of sentences ({num_sentences}) must be at least 1; lead-3 is usual for news")
