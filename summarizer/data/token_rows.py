"""Texts in, their token ids as arrays out: what encoding a whole data set does, as fast as the tokenizer allows.

BPE as SentencePiece does it takes an article at once, although no piece reaches over a space. So each word is encoded
once and remembered; the ids of many articles are then gathered from those of their words, all in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from summarizer.tokenizer import Tokenizer, words_by_line

Ids = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

# What is remembered at most, about 150 MB. News has so many different words in half a million articles; text without
# spaces has one long word in each line, and reaches the other bound.
_MOST_WORDS = 1 << 19
_MOST_IDS = 1 << 23
_NEWLINE = "\n"  # between two lines, a word of its own


class RowEncoder:
    """Gives the ids that ``tokenizer.encode`` gives."""

    def __init__(self, tokenizer: Tokenizer, num_threads: int) -> None:
        self._tokenizer = tokenizer
        self._num_threads = num_threads
        self._lexicon = _Lexicon(tokenizer)

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        if not self._tokenizer.words_are_independent:
            rows = self._tokenizer.encode_batch(texts, num_threads=self._num_threads)
            return [np.array(ids, dtype="<i4") for ids in rows]
        words_of = [_words(text) for text in texts]
        counts = np.array([len(words) for words in words_of], dtype=np.int64)
        numbers = self._lexicon.numbers(chain.from_iterable(words_of), int(counts.sum()), self._num_threads)
        ids, lengths = self._lexicon.gather(numbers)
        ends = np.concatenate(([0], np.cumsum(lengths)))[np.cumsum(counts)]
        if self._lexicon.is_full:
            self._lexicon = _Lexicon(self._tokenizer)
        return np.split(ids, ends[:-1]) if texts else []


class _Lexicon:
    """Numbers of words, and the ids of each, one word's after the other's."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._numbers = _Numbers()
        self._ids: Ids = np.array([tokenizer.newline_id], dtype="<i4")
        self._ends: Places = np.array([1], dtype=np.int64)  # behind the ids of each word

    @property
    def is_full(self) -> bool:
        return len(self._ends) > _MOST_WORDS or len(self._ids) > _MOST_IDS

    def numbers(self, words: chain[str], count: int, num_threads: int) -> Places:
        """The number of each word; those that are new are encoded."""
        numbers = np.fromiter(map(self._numbers.__getitem__, words), dtype=np.int64, count=count)
        new, self._numbers.new = self._numbers.new, []
        if new:
            rows = self._tokenizer.encode_words(new, num_threads=num_threads)
            lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
            ids = np.fromiter(chain.from_iterable(rows), dtype="<i4", count=int(lengths.sum()))
            self._ends = np.concatenate((self._ends, len(self._ids) + np.cumsum(lengths)))
            self._ids = np.concatenate((self._ids, ids))
        return numbers

    def gather(self, numbers: Places) -> tuple[Ids, Places]:
        """The ids of these words in a row, and how many each has."""
        ends = self._ends[numbers]
        lengths = ends - np.where(numbers > 0, self._ends[numbers - 1], 0)
        # In the row, the ids of a word begin where the lengths so far end.
        shifts = (ends - np.cumsum(lengths)).repeat(lengths)
        return self._ids[shifts + np.arange(len(shifts))], lengths


class _Numbers(dict[str, int]):
    """Words to numbers, counted up as they come."""

    def __init__(self) -> None:
        super().__init__({_NEWLINE: 0})
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.new.append(word)
        return number


def _words(text: str) -> list[str]:
    lines = words_by_line(text)
    if len(lines) == 1:
        return lines[0]
    return [word for number, line in enumerate(lines) for word in ([_NEWLINE, *line] if number else line)]
