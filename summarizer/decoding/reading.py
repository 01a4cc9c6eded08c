"""What the model reads of a document that is longer than it can take: its beginning, or all of it in parts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from summarizer.errors import UserError
from summarizer.sentences import sentences_of
from summarizer.tokenizer import Tokenizer, normalize

FEWEST_TOKENS = 3  # of a window that holds two summaries of one token, and the newline between them


class LongDocument(Enum):
    """What becomes of a document that the model cannot read as a whole."""

    truncate = "truncate"  # its first tokens are summarized
    lead = "lead"  # its first tokens, up to the end of a sentence
    split = "split"  # all of it: its parts are summarized, and then their summaries

    @classmethod
    def of(cls, value: LongDocument | str) -> LongDocument:
        """Raises UserError for a word that is none of these."""
        try:
            return cls(value)
        except ValueError:
            raise UserError(f"long_document ({value}) must be one of {', '.join(cls.__members__)}") from None


@dataclass(frozen=True)
class Reading:
    """What the model reads before it writes the summary of a document."""

    source: list[int]  # ids, the end id not among them
    tokens_read: int  # of the document: with more than one part, ``source`` is made of what they were summarized to
    tokens_total: int
    parts: int = 1  # that the document was read in


@dataclass(frozen=True)
class Part:
    """A piece of a document or, in a later round, of the summaries of its pieces."""

    document: int  # its position among those that are read
    number: int  # from 0
    of: int  # parts in this round
    source: list[int]


class Passage:
    """The ids of a text, and where its sentences begin and end among them."""

    def __init__(self, ids: list[int], starts: list[int], newline_id: int) -> None:
        """:param starts: where each sentence begins, the first at 0; a newline belongs to none."""
        self.ids = ids
        self.starts = starts
        self.newline_id = newline_id
        following = [*starts[1:], len(ids)] if starts else []
        self.stops = [stop - (stop < len(ids) and ids[stop - 1] == newline_id) for stop in following]

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer) -> Passage:
        """A piece that reaches over the end of a sentence, where no space is, belongs to the next one."""
        ids, normalized = tokenizer.encode(text), normalize(text)
        ends = tokenizer.text_ends(ids)
        starts, position = [0] if ids else [], 0
        for sentence in sentences_of(normalized):
            position = normalized.index(sentence, position) + len(sentence)
            start = bisect_right(ends, position)
            if starts[-1] < start < len(ids):
                starts.append(start)
        return cls(ids, starts, tokenizer.newline_id)

    def cut(self, most: int) -> Passage:
        """Its first so many ids."""
        return Passage(self.ids[:most], [start for start in self.starts if start < most], self.newline_id)

    def windows(self, size: int) -> list[list[int]]:
        """The ids in pieces of at most ``size``, each of as many whole sentences as fit; in order, and all of them.

        A sentence that is longer than that fills up the window it begins in and goes on in the next. The newline
        between two windows is left out.
        """
        found = []
        begin = 0
        while begin < len(self.ids):
            end, following = self._window_end(begin, size)
            found.append(self.ids[begin:end])
            begin = following
        return found

    def _window_end(self, begin: int, size: int) -> tuple[int, int]:
        """Where the window that begins there ends, and where the next begins."""
        full = begin + size
        after = bisect_right(self.stops, full)  # the first sentence that does not end in the window
        if after == len(self.stops):
            return len(self.ids), len(self.ids)
        has_sentence = after > 0 and self.stops[after - 1] > begin
        fits_elsewhere = self.stops[after] - self.starts[after] <= size
        if has_sentence and (fits_elsewhere or self.starts[after] >= full):
            return self.stops[after - 1], self.starts[after]
        return full, full


def first_sentences(passage: Passage, size: int) -> Reading:
    """As many whole sentences as fit, or what fits of the first that is longer than that."""
    source = passage.windows(size)[0]
    return Reading(source, len(source), len(passage.ids))


def joined(passages: Sequence[Passage]) -> Passage:
    """One passage with a newline between those that were not empty."""
    ids: list[int] = []
    starts: list[int] = []
    newline_id = passages[0].newline_id
    for passage in passages:
        if ids and passage.ids:
            ids.append(newline_id)
        starts += [len(ids) + start for start in passage.starts]
        ids += passage.ids
    return Passage(ids, starts, newline_id)


def longest_part_summary(size: int) -> int:
    """Tokens that the summary of a part may have: two of them, and a newline, fit into a window of ``size``."""
    return (size - 1) // 2


def read_in_parts(
    passages: Sequence[Passage], size: int, summarize: Callable[[Sequence[Part]], Sequence[Passage]]
) -> list[Reading]:
    """Readings of at most ``size`` ids, made of everything there is.

    A document of several windows becomes the summaries of these, joined, until one window holds them. It comes to an
    end whatever ``summarize`` gives: a summary counts up to :func:`longest_part_summary`, so two always fit into a
    window, and each round leaves at most half as many, rounded up, as the one before. (Windows filled one after the
    other, each with as many sentences as fit, are never more than such pairs would be.)

    :param summarize: gives the summary of each part. It is called once a round, with the parts of all documents.
    """
    windows = [passage.windows(size) for passage in passages]
    readings = [len(each) for each in windows]
    while waiting := [document for document, each in enumerate(windows) if len(each) > 1]:
        parts = [
            Part(document, number, len(windows[document]), source)
            for document in waiting
            for number, source in enumerate(windows[document])
        ]
        summaries: list[list[Passage]] = [[] for _ in passages]
        for part, summary in zip(parts, summarize(parts), strict=True):
            summaries[part.document].append(summary.cut(longest_part_summary(size)))
        for document in waiting:
            # Where all that was written is nothing, the beginning is read, for something must be.
            windows[document] = joined(summaries[document]).windows(size) or windows[document][:1]
    return [
        Reading(only, len(passage.ids), len(passage.ids), parts=count)
        for passage, (only,), count in zip(passages, windows, readings, strict=True)
    ]
