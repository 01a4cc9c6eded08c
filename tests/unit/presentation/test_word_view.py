"""Words, not tokens: nothing of the weights is lost on the way, and no word is called novel that the document has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.presentation.trace import AttentionTrace
from summarizer.presentation.word_view import WordView
from summarizer.presentation.words import token_texts, words_in, written_words

MakeTrace = Callable[..., AttentionTrace]

SOURCES = ("▁The", "▁Art", "▁par", "ty", ",", "▁12", ",", "500", "<n>", "▁met", "</s>")
TARGETS = ("▁the", "▁par", "t", "y", ".", "<n>", "▁Met", "▁12", ",", "500", "</s>")


def test_a_text_falls_into_its_words(make_trace: MakeTrace) -> None:
    view = WordView.of(make_trace(SOURCES, TARGETS))
    assert view.document_S == [" The", " Art", " party,", " 12,500", "\n met", ""]
    assert view.summary_T == [" the", " party.", "\n Met", " 12,500"]


def test_novel_is_what_the_document_has_not_whatever_its_case(make_trace: MakeTrace) -> None:
    assert WordView.of(make_trace(SOURCES, TARGETS)).novel_T == [False] * 4
    targets = ("▁part", "▁art", "-", "house", "▁--", "▁12", "</s>")  # no part of "party", half a novelty, no word
    assert WordView.of(make_trace(SOURCES, targets)).novel_T == [True, True, False, True]


def test_words_get_the_sum_of_their_tokens_and_give_the_mean(make_trace: MakeTrace) -> None:
    trace = make_trace(SOURCES, TARGETS, pointer=True)
    view = WordView.of(trace)
    assert trace.copied_T is not None
    assert trace.copy_TS is not None
    party, of_party = [2, 3, 4], [1, 2, 3, 4]
    expected = trace.average[np.ix_(of_party, party)].sum(axis=1).mean()
    assert view.looked_TS[1, 2] == pytest.approx(expected)
    assert view.copied_TS is not None
    assert view.copied_TS[1, 2] == pytest.approx(trace.copy_TS[np.ix_(of_party, party)].sum(axis=1).mean())
    assert view.copied_T is not None
    assert view.copied_T[1] == pytest.approx(trace.copied_T[of_party].mean())
    for matrix in (view.looked_TS, view.copied_TS):
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)


def test_a_summary_that_was_cut_off_keeps_its_last_word(make_trace: MakeTrace) -> None:
    assert (
        WordView.of(make_trace(SOURCES, TARGETS[:-1])).summary_T == WordView.of(make_trace(SOURCES, TARGETS)).summary_T
    )


def test_a_summary_of_nothing_has_no_words(make_trace: MakeTrace) -> None:
    view = WordView.of(make_trace(SOURCES, ("</s>",), pointer=True))
    assert view.summary_T == []
    assert view.as_json()["looked"] is None
    assert view.as_json()["pointed"] is None


def test_a_model_without_pointer_copies_nothing(make_trace: MakeTrace) -> None:
    content = WordView.of(make_trace(SOURCES, TARGETS)).as_json()
    assert content["pointed"] is None
    assert content["copied"] is None


@given(st.lists(st.sampled_from(["▁a", "b", "▁", "<n>", "<0xC3>", "<0xA9>", ".", "</s>"]), max_size=12))
def test_every_token_is_in_one_word_in_order(pieces: list[str]) -> None:
    texts = token_texts(pieces)
    words = written_words(texts)
    assert [place for word in words for place in word] == list(range(len(texts)))
    written = ["".join(texts[place] for place in word) for word in words]
    assert all(word[:1].isspace() for word in written[1:])
    assert [word.split() for word in written if word.strip()] == [[word] for word in "".join(texts).split()]


def test_words_of_a_text_have_no_case() -> None:
    assert words_in("It\u2019s 12,500 -- he said: ÉTÉ.") == ["it\u2019s", "12,500", "he", "said", "été"]
