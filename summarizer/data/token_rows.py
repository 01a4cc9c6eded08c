"""Texts in, their token ids as arrays out: what encoding a whole data set does, as fast as the tokenizer allows.

BPE as SentencePiece does it takes an article at once, although no piece reaches over a space. So each word is encoded
once and remembered; an article is then its words' ids in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from summarizer.tokenizer import Tokenizer, words_by_line

Ids = npt.NDArray[np.int32]

_MOST_WORDS = 1 << 19  # remembered; about 100 MB. News has that many different ones in half a million articles
_LONGEST_WORD = 40  # characters of a word that may come again; text without spaces is one long word


class RowEncoder:
    """Gives the ids that ``tokenizer.encode`` gives."""

    def __init__(self, tokenizer: Tokenizer, num_threads: int) -> None:
        self._tokenizer = tokenizer
        self._num_threads = num_threads
        self._ids_of: dict[str, bytes] = {}  # word -> its ids, little-endian int32
        self._newline = np.array([tokenizer.newline_id], dtype="<i4").tobytes()

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        if not self._tokenizer.words_are_independent:
            rows = self._tokenizer.encode_batch(texts, num_threads=self._num_threads)
            return [np.array(ids, dtype="<i4") for ids in rows]
        lines_of = [words_by_line(text) for text in texts]
        unknown = self._learn(set(chain.from_iterable(chain.from_iterable(lines_of))))
        rows_of_ids = [self._row(lines) for lines in lines_of]
        self._forget(unknown)
        return rows_of_ids

    def _row(self, lines: list[list[str]]) -> Ids:
        parts: list[bytes] = []
        for words in lines:
            parts += map(self._ids_of.__getitem__, words)
            parts.append(self._newline)
        return np.frombuffer(b"".join(parts[:-1]), dtype="<i4")  # newlines stand between lines only

    def _learn(self, words: set[str]) -> list[str]:
        """Encode those that are new, and return them."""
        unknown = list(words.difference(self._ids_of))
        rows = self._tokenizer.encode_batch(unknown, num_threads=self._num_threads)
        self._ids_of.update(
            (word, np.array(ids, dtype="<i4").tobytes()) for word, ids in zip(unknown, rows, strict=True)
        )
        return unknown

    def _forget(self, new: list[str]) -> None:
        """Keep the memory bounded, whatever the texts."""
        for word in new:
            if len(word) > _LONGEST_WORD:
                del self._ids_of[word]
        if len(self._ids_of) > _MOST_WORDS:
            self._ids_of.clear()
