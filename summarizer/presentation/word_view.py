"""An attention trace in; the same by whole words, for people who care for words and not for tokens, out.

S words of the document and its end, T words of the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from summarizer.presentation.quantized import matrix_json
from summarizer.presentation.trace import AttentionTrace, Weights
from summarizer.presentation.words import token_texts, words_in, written_words
from summarizer.tokenizer import END_PIECE


@dataclass(frozen=True)
class WordView:
    """Where a model looked for each word of a summary. A text is the words joined: each brings its white space."""

    document_S: list[str]  # the last one is empty: the end
    summary_T: list[str]
    novel_T: list[bool]  # whether it holds a word that the document, as far as it was read, has not
    looked_TS: Weights  # mean of all layers and heads; rows sum to one
    copied_TS: Weights | None  # what the pointer would copy, rows sum to one; None without a pointer
    copied_T: list[float] | None  # probability that the word was copied; None without a pointer

    @classmethod
    def of(cls, trace: AttentionTrace) -> WordView:
        """A word gets the sum of what its tokens got, and gave the mean of what its tokens gave."""
        sources, targets = token_texts(trace.sources), token_texts(trace.targets)
        document = _with_own_end(written_words(sources), trace.sources)
        # What was looked at while choosing to end belongs to no word.
        summary = written_words(targets[:-1] if trace.targets[-1] == END_PIECE else targets)
        known = set(words_in("".join(sources)))
        summary_T = ["".join(targets[i] for i in tokens) for tokens in summary]
        copied = trace.copied_T
        return cls(
            document_S=["".join(sources[i] for i in tokens) for tokens in document],
            summary_T=summary_T,
            novel_T=[not known.issuperset(words_in(text)) for text in summary_T],
            looked_TS=_by_word(trace.average, summary, document),
            copied_TS=None if trace.copy_TS is None else _by_word(trace.copy_TS, summary, document),
            copied_T=None if copied is None else [float(np.mean(copied[list(tokens)])) for tokens in summary],
        )

    def as_json(self) -> dict[str, Any]:
        """For a page. Matrices are those of weights.js."""
        return {
            "document": self.document_S,
            "words": self.summary_T,
            "novel": self.novel_T,
            "looked": matrix_json(self.looked_TS) if self.summary_T else None,
            "pointed": None if self.copied_TS is None or not self.summary_T else matrix_json(self.copied_TS),
            "copied": None if self.copied_T is None else [round(share, 4) for share in self.copied_T],
        }


def _with_own_end(words: Sequence[range], pieces: Sequence[str]) -> list[range]:
    """The end token taken out of the last word: much attention often rests on it, and none of that is for the word."""
    if pieces[-1] != END_PIECE:
        return list(words)
    before, end = words[-1][:-1], words[-1][-1:]
    return [*words[:-1], *([before] if before else []), end]


def _by_word(weights_TS: Weights, summary: Sequence[range], document: Sequence[range]) -> Weights:
    """Both sides are runs of tokens that follow one another without a gap."""
    if not summary:
        return np.zeros((0, len(document)), dtype=np.float32)
    written_TS = weights_TS[: summary[-1].stop]
    gotten_TS = np.add.reduceat(written_TS, [tokens.start for tokens in document], axis=1)
    given_TS = np.add.reduceat(gotten_TS, [tokens.start for tokens in summary], axis=0)
    by_word: Weights = (given_TS / np.array([[len(tokens)] for tokens in summary])).astype(np.float32)
    return by_word
