"""A summary and its document in, what ROUGE does not see out: what is copied, repeated, new, or found nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from summarizer.evaluation.words import unicode_words
from summarizer.sentences import split_sentences

# What is told of a summary, in the order of tables -> what it is called there. Shares lie between 0 and 1.
SHARE_READ = "share_read"  # the one that its reader tells, and no text
TRAITS = {
    SHARE_READ: "share of the document read",
    "words": "words",
    "length_ratio": "length / reference length",
    "repeated_trigrams": "repeated trigrams",
    "compression": "compression: document / summary words",
    "coverage": "coverage: words in copied fragments",
    "density": "density: length of a word's fragment",
    "novel_1grams": "novel words",
    "novel_2grams": "novel 2-grams",
    "novel_3grams": "novel 3-grams",
    "novel_4grams": "novel 4-grams",
    "unsupported_names": "names the document lacks",
    "unsupported_numbers": "numbers the document lacks",
}
PLAIN_NUMBERS = ("words", "length_ratio", "compression", "density")  # the others are shares

_LONGEST_NGRAM = 4
_WORD = re.compile(r"\w+(?:['\u2019]\w+|(?<=\d)[.,]\d+)*")  # it's; 12,500
_POSSESSIVE = re.compile("['\u2019]s$", re.IGNORECASE)


def traits_of(summary: str, document: str, references: Sequence[str] = ()) -> dict[str, float]:
    """The :data:`TRAITS` of one summary; absent are those it cannot have, as an empty one has no share of anything.

    Words are those of :func:`unicode_words`. A fragment is a run of words that the document has too, taken greedily
    from the first word on, the longest at each place: coverage is the share of words in fragments, density their mean
    length seen from a word (Grusky et al. 2018, "Newsroom"). An n-gram is novel if the document lacks it, and a
    trigram repeated if the summary had it before. Names and numbers: see :func:`names_and_numbers`.
    """
    words = unicode_words(summary)
    traits: dict[str, float] = {"words": len(words)}
    if references:
        traits["length_ratio"] = len(words) * len(references) / max(1, sum(len(unicode_words(r)) for r in references))
    if len(words) >= 3:
        trigrams = list(_ngrams(words, 3))
        traits["repeated_trigrams"] = 1 - len(set(trigrams)) / len(trigrams)
    if document and words:
        source = unicode_words(document)
        traits |= _copying(words, source) | _novelty(words, source) | _support(summary, document)
    return traits


def traits_of_all(rows: Sequence[tuple[str, str, Sequence[str]]]) -> list[dict[str, float]]:
    """:func:`traits_of` each row, for other processes: they need no PyTorch for it."""
    return [traits_of(*row) for row in rows]


class Fragment(NamedTuple):
    """A run of words that a summary has in common with its document."""

    start: int  # its first word in the summary
    place: int  # and in the document, where several fit the first
    length: int


def fragments(summary: Sequence[str], document: Sequence[str]) -> list[Fragment]:
    """In the order of the summary, see :func:`traits_of`."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(document):
        places.setdefault(word, []).append(place)
    found = []
    start = 0
    while start < len(summary):
        runs = [
            Fragment(start, place, _run(summary, start, document, place)) for place in places.get(summary[start], ())
        ]
        if runs:
            found.append(max(runs, key=lambda run: run.length))
        start += found[-1].length if runs else 1
    return found


def names_and_numbers(text: str) -> tuple[list[str], list[str]]:
    """Words with a digit are numbers. Names are the others with a capital, but for one that begins a sentence.

    That word counts only with a second capital (NATO, McDonald). In lower-case text no name can be told from a word, so
    there are none; nor in scripts without capitals. Possessive 's and the commas of numbers are left out.
    """
    names, numbers = [], []
    for sentence in split_sentences(text):
        for place, found in enumerate(_WORD.finditer(sentence)):
            word = _POSSESSIVE.sub("", found[0])
            if any(map(str.isdigit, word)):
                numbers.append(word.replace(",", ""))
            elif any(map(str.isupper, word[1:] if place == 0 else word)):
                names.append(word)
    return names, numbers


def unsupported(summary: str, document: str) -> tuple[list[str], list[str]]:
    """The names and numbers of ``summary`` that ``document`` lacks, in any case."""
    known = {_POSSESSIVE.sub("", found[0]).replace(",", "").casefold() for found in _WORD.finditer(document)}
    names, numbers = names_and_numbers(summary)
    return [name for name in names if name.casefold() not in known], [n for n in numbers if n.casefold() not in known]


def _run(summary: Sequence[str], start: int, document: Sequence[str], place: int) -> int:
    """Words that are the same from ``start`` and from ``place`` on."""
    limit = min(len(summary) - start, len(document) - place)
    length = 0
    while length < limit and summary[start + length] == document[place + length]:
        length += 1
    return length


def _copying(words: list[str], source: list[str]) -> dict[str, float]:
    lengths = [fragment.length for fragment in fragments(words, source)]
    return {
        "compression": len(source) / len(words),
        "coverage": sum(lengths) / len(words),
        "density": sum(length * length for length in lengths) / len(words),
    }


def _novelty(words: list[str], source: list[str]) -> dict[str, float]:
    novelty = {}
    for n in range(1, min(_LONGEST_NGRAM, len(words)) + 1):
        known = set(_ngrams(source, n))
        grams = list(_ngrams(words, n))
        novelty[f"novel_{n}grams"] = sum(gram not in known for gram in grams) / len(grams)
    return novelty


def _support(summary: str, document: str) -> dict[str, float]:
    support = {}
    given, missing = names_and_numbers(summary), unsupported(summary, document)
    for kind, all_of_kind, lacking in zip(("names", "numbers"), given, missing, strict=True):
        if all_of_kind:
            support[f"unsupported_{kind}"] = len(lacking) / len(all_of_kind)
    return support


def _ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(islice(words, start, None) for start in range(n)), strict=False)
