"""Marks say what they say, and no character of a text is lost or becomes markup."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from summarizer.evaluation.marked_text import mark_pair

DOCUMENT = "The storm hit Kent on Monday. Mr. O'Brien lost 12,500 pounds in the storm."


def plain(markup: str) -> str:
    return html.unescape(re.sub("</?mark[^>]*>", "", markup))


def marked(markup: str, kind: str) -> list[str]:
    return re.findall(f'<mark class="{kind}"[^>]*>([^<]*)</mark>', markup)


def test_copies_are_marked_on_both_sides_under_one_number() -> None:
    pair = mark_pair(DOCUMENT, "In Kent the storm hit kent, and O'Brien lost 12,500 pounds.")
    copies = ["the storm hit kent", "O&#x27;Brien lost 12,500 pounds"]
    assert marked(pair.summary, "copied") == copies
    assert [text.casefold() for text in marked(pair.document, "copied")] == [text.casefold() for text in copies]
    for number in (0, 1):
        assert f'data-copy="{number}"' in pair.summary
        assert f'data-copy="{number}"' in pair.document


def test_two_words_are_no_copy() -> None:
    assert marked(mark_pair(DOCUMENT, "they lost 12,500 yesterday").summary, "copied") == []


def test_novel_words_and_unsupported_names_and_numbers_are_told_apart() -> None:
    pair = mark_pair(DOCUMENT, "Floods hit Dover and Smith's 13,000 sheep.")
    assert marked(pair.summary, "novel") == ["Floods", "and", "sheep"]
    assert marked(pair.summary, "unsupported") == ["Dover", "Smith&#x27;s", "13,000"]
    assert marked(mark_pair("x", "ces, 2000,00-ent").summary, "unsupported") == ["2000,00"]


def test_without_a_document_nothing_is_marked() -> None:
    assert mark_pair("", "Smith lost <b>").summary == "Smith lost &lt;b&gt;"


texts = st.text(max_size=60) | st.lists(st.sampled_from(["a", "B", "7", "<b>", "&amp;", "\n", "'", "é", "日本"])).map(
    " ".join
)


@given(texts, texts)
def test_any_text_is_shown_as_it_is(document: str, summary: str) -> None:
    pair = mark_pair(document, summary)
    assert plain(pair.document) == document
    assert plain(pair.summary) == summary
    for markup in pair:
        assert "<" not in re.sub(r'<mark class="\w+"( data-copy="\d+")?>|</mark>', "", markup)
