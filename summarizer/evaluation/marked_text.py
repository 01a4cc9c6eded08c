"""A document and a summary in, both as HTML out, with what was copied, what is new and what is unsupported marked."""

from __future__ import annotations

import html
from typing import NamedTuple

from summarizer.evaluation.traits import Fragment, fragments, unsupported
from summarizer.evaluation.words import word_spans

_SHORTEST_COPY = 3  # words; shorter runs are the chance of any two texts on one subject


class Mark(NamedTuple):
    """Characters of a text, and what they are."""

    start: int
    end: int
    kind: str  # "copied", "novel" or "unsupported"
    number: int = -1  # which copy


class MarkedPair(NamedTuple):
    """HTML in which every character of the texts is escaped."""

    document: str  # with what was copied from it
    summary: str


def mark_pair(document: str, summary: str) -> MarkedPair:
    """Copied are runs of three words and more that the document has; novel, single words it lacks.

    A novel name or number is unsupported. Copies bear the same ``data-copy`` number on both sides.
    """
    document_spans, summary_spans = word_spans(document), word_spans(summary)
    document_words = [document[start:end].casefold() for start, end in document_spans]
    summary_words = [summary[start:end].casefold() for start, end in summary_spans]
    copies = [each for each in fragments(summary_words, document_words) if each.length >= _SHORTEST_COPY]
    marks = _novel_marks(document, summary) if document else []
    in_summary = [_copy_mark(number, each, each.start, summary_spans) for number, each in enumerate(copies)]
    in_document = [_copy_mark(number, each, each.place, document_spans) for number, each in enumerate(copies)]
    return MarkedPair(_as_html(document, in_document), _as_html(summary, marks + in_summary))


def _copy_mark(number: int, fragment: Fragment, first: int, spans: list[tuple[int, int]]) -> Mark:
    return Mark(spans[first][0], spans[first + fragment.length - 1][1], "copied", number)


def _novel_marks(document: str, summary: str) -> list[Mark]:
    known = {document[start:end].casefold() for start, end in word_spans(document)}
    names, numbers = unsupported(summary, document)
    doubtful = {word.casefold() for word in [*names, *numbers]}
    marks = []
    for start, end in word_spans(summary):
        word = summary[start:end].casefold()
        if word not in known:
            plain = word.removesuffix("'s").removesuffix("\u2019s").replace(",", "")
            marks.append(Mark(start, end, "unsupported" if plain in doubtful else "novel"))
    return marks


def _as_html(text: str, marks: list[Mark]) -> str:
    """Marks that begin inside an earlier one, as when a passage was copied twice, are left out."""
    pieces: list[str] = []
    done = 0
    for mark in sorted(marks):
        if mark.start < done:
            continue
        number = f' data-copy="{mark.number}"' if mark.number >= 0 else ""
        inside = html.escape(text[mark.start : mark.end])
        pieces += [html.escape(text[done : mark.start]), f'<mark class="{mark.kind}"{number}>{inside}</mark>']
        done = mark.end
    return "".join(pieces) + html.escape(text[done:])
