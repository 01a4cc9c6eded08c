"""Long documents: windows lose nothing and end where sentences do, and reading in parts comes to an end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.decoding.reading import (
    FEWEST_TOKENS,
    Part,
    Passage,
    Reading,
    first_sentences,
    joined,
    longest_part_summary,
    read_in_parts,
)
from summarizer.sentences import split_sentences
from summarizer.tokenizer import Tokenizer, TokenizerConfig, TokenizerKind, normalize

NEWLINE = 4
TEXT = "the storm closed 12 roads . crews worked all night . nobody was hurt .\nthe harbour opened again on monday ."


@pytest.fixture(scope="module", params=TokenizerKind)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train([TEXT, TEXT.replace("storm", "flood")], TokenizerConfig(kind=request.param, vocab_size=290))


# ---- Where sentences begin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "One. Two.\nThree",
        "only one",
        "a\n\nb\r\nc",
        "天气很好。我们走吧。 是的",
        "He left.  She ☃ stayed!",
        "☃. ☃☃.\n☃",
    ],
)
def test_sentences_of_ids_are_those_of_the_text(text: str, tokenizer: Tokenizer) -> None:
    passage = Passage.of(text, tokenizer)
    assert passage.ids == tokenizer.encode(text)
    spans = zip(passage.starts, passage.stops, strict=True)
    assert [tokenizer.decode(passage.ids[start:stop]) for start, stop in spans] == split_sentences(normalize(text))


@given(st.text(alphabet="ab .!\n。é☃\u0301", max_size=40))
def test_the_ends_of_ids_are_those_of_what_they_decode_to(text: str) -> None:
    tokenizer = _TOKENIZER
    ids = tokenizer.encode(text)
    ends = tokenizer.text_ends(ids)
    assert ends == sorted(ends)
    assert not ends or ends[-1] == len(normalize(text))
    for count, end in enumerate(ends, start=1):
        decoded = tokenizer.decode(ids[:count])
        if "\ufffd" not in decoded:  # a character of which only some bytes are there
            assert normalize(text)[:end].rstrip() == decoded


_TOKENIZER = Tokenizer.train([TEXT], TokenizerConfig(vocab_size=290))


# ---- Windows ------------------------------------------------------------------------------------------------------


def passage_of(lengths: Sequence[int], newlines: Sequence[bool]) -> Passage:
    """Sentences of so many ids, each id another, with a newline after some; 4 is the newline."""
    ids: list[int] = []
    starts = []
    for place, length in enumerate(lengths):
        starts.append(len(ids))
        ids += range(100 + len(ids), 100 + len(ids) + length)
        if newlines[place % len(newlines)] and place < len(lengths) - 1:
            ids.append(NEWLINE)
    return Passage(ids, starts, NEWLINE)


passages = st.builds(
    passage_of, st.lists(st.integers(1, 12), min_size=1, max_size=12), st.lists(st.booleans(), min_size=1, max_size=3)
)


@given(passages, st.integers(1, 15))
def test_windows_hold_all_there_is_in_order_but_newlines_between_them(passage: Passage, size: int) -> None:
    windows = passage.windows(size)
    assert all(0 < len(window) <= size for window in windows)
    place = 0
    for window in windows:
        if passage.ids[place] == NEWLINE:
            place += 1
        assert passage.ids[place : place + len(window)] == window
        place += len(window)
    assert place == len(passage.ids)


@given(passages, st.integers(1, 15))
def test_windows_are_cut_inside_a_sentence_only_if_it_is_longer_than_any(passage: Passage, size: int) -> None:
    windows = passage.windows(size)
    sentences = [passage.ids[start:stop] for start, stop in zip(passage.starts, passage.stops, strict=True)]
    of = {id_: sentence for sentence in sentences for id_ in sentence}
    for window, following in pairwise(windows):
        if of[window[-1]] is of[following[0]]:
            assert len(of[window[-1]]) > size
            assert len(window) == size
        else:  # the next sentence would not have fitted
            newline = passage.ids[passage.ids.index(window[-1]) + 1] == NEWLINE
            beginning = len(of[following[0]]) if len(of[following[0]]) <= size else 1
            assert len(window) + newline + beginning > size


def test_a_document_that_fits_is_one_window() -> None:
    passage = passage_of([3, 3], [True])
    assert passage.windows(7) == [passage.ids]
    assert passage.windows(6) == [passage.ids[:3], passage.ids[4:]]
    assert first_sentences(passage, 7) == Reading(passage.ids, 7, 7)
    assert first_sentences(passage, 6) == Reading(passage.ids[:3], 3, 7)
    assert first_sentences(passage, 2) == Reading(passage.ids[:2], 2, 7)


# ---- Reading in parts ---------------------------------------------------------------------------------------------

Summarize = Callable[[Sequence[Part]], list[Passage]]


def as_long_as_its_input(parts: Sequence[Part]) -> list[Passage]:
    return [Passage(part.source, [0], NEWLINE) for part in parts]


def far_longer_than_its_input(parts: Sequence[Part]) -> list[Passage]:
    return [Passage(part.source * 9, [0], NEWLINE) for part in parts]


def in_many_sentences(parts: Sequence[Part]) -> list[Passage]:
    return [passage_of([1] * len(part.source), [True]) for part in parts]


def nothing(parts: Sequence[Part]) -> list[Passage]:
    return [Passage([], [], NEWLINE) for part in parts]


@given(st.lists(passages, max_size=4), st.integers(FEWEST_TOKENS, 15))
@pytest.mark.parametrize(
    "summarize", [as_long_as_its_input, far_longer_than_its_input, in_many_sentences, nothing], ids=lambda f: f.__name__
)
def test_reading_ends_whatever_the_summaries_are(summarize: Summarize, documents: list[Passage], size: int) -> None:
    """In each round a document has at most half as many parts, rounded up, as in the one before."""
    counts: dict[int, list[int]] = {document: [] for document in range(len(documents))}

    def watched(parts: Sequence[Part]) -> list[Passage]:
        for document in {part.document for part in parts}:
            mine = [part for part in parts if part.document == document]
            assert [(part.number, part.of) for part in mine] == [(place, len(mine)) for place in range(len(mine))]
            counts[document].append(len(mine))
            assert len(counts[document]) < 50, "it does not end"
        assert all(len(part.source) <= size for part in parts)
        return summarize(parts)

    readings = read_in_parts(documents, size, watched)
    for document, (passage, reading) in enumerate(zip(documents, readings, strict=True)):
        assert 0 < len(reading.source) <= size
        assert reading.tokens_read == reading.tokens_total == len(passage.ids)
        assert reading.parts == len(passage.windows(size))
        assert all(later <= math.ceil(earlier / 2) for earlier, later in pairwise(counts[document]))
        assert len(counts[document]) <= math.ceil(math.log2(reading.parts))


def test_what_is_read_last_are_the_summaries_of_all_parts_in_order() -> None:
    documents = [passage_of([3] * count, [False]) for count in (1, 4, 2, 9)]
    calls = []

    def first_id_of_each(parts: Sequence[Part]) -> list[Passage]:
        calls.append({part.document for part in parts})
        return [Passage(part.source[:1], [0], NEWLINE) for part in parts]

    readings = read_in_parts(documents, 4, first_id_of_each)
    assert calls == [{1, 2, 3}, {1, 3}, {3}, {3}], "each round is one call for all documents that need it"
    assert readings[0].source == documents[0].ids
    assert [reading.parts for reading in readings] == [1, 4, 2, 9]
    first = [documents[3].ids[start] for start in documents[3].starts]
    assert readings[2].source == [documents[2].ids[0], NEWLINE, documents[2].ids[3]]
    assert readings[3].source[0] == first[0]
    assert set(readings[3].source) <= {*first, NEWLINE}


def test_an_empty_summary_leaves_no_line() -> None:
    one, empty = passage_of([2, 1], [True]), Passage([], [], NEWLINE)
    passage = joined([empty, one, empty, one])
    assert passage.ids == [*one.ids, NEWLINE, *one.ids]
    assert (passage.starts, passage.stops) == ([0, 3, 5, 8], [2, 4, 7, 9])


def test_where_nothing_is_written_of_any_part_the_beginning_is_read() -> None:
    passage = passage_of([3, 3, 3], [False])
    (reading,) = read_in_parts([passage], 4, nothing)
    assert reading.source == passage.ids[:3]


def test_two_summaries_of_parts_fit_into_a_window_with_a_newline_between() -> None:
    rng = random.Random(0)
    for size in range(FEWEST_TOKENS, 40):
        most = longest_part_summary(size)
        assert most >= 1
        two = [passage_of([rng.randint(1, 20)], [False]).cut(most) for _ in range(2)]
        assert len(joined(two).windows(size)) == 1
