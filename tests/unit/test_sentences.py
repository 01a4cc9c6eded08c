"""The sentence splitter: what it takes for a sentence decides baselines, and where a long document is cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.sentences import split_sentences

# Each case is written with | where a sentence ends.
CASES = [
    "he left.| she stayed.",
    "He left.| She stayed.",
    "the man said .| he left .",
    "he left!| why?| nobody knows",
    "first line\n|second line",
    "first.\r\n|second.",
    "mr. smith met dr. jones .| they left.",
    "J. R. Smith and j. k. rowling spoke.| Then they left.",
    "said l.l. doungal, a police official.| he left.",
    "it rose 3.5 per cent to $1.2 billion.| it fell.",
    "in the u.s. treasury, officials agreed.| he left.",
    "they live in the u.s.| the family moved there.",
    "at 5 p.m. on friday.| it rained.",
    "it closed at 5 p.m.| they went home.",
    "she works for acme inc. in ohio.| she is happy.",
    "on jan. 5 he left.| it was dec.| then came no. 7.",
    "he said no.| she agreed.",
    '"i won." |he smiled.',
    "(he left.)| she stayed.",
    "he said \u201cwe won.\u201d| she smiled.",
    '" we won . "| he smiled .',
    'he said so . |" we won . "| she smiled .',
    "`` we won . ''| he smiled .",
    "( he left . -rrb-| she stayed .",
    '"why?" he asked.| nobody knew.',
    '"stop!" police said .| he ran .',
    '"is it over?"| the crowd went home.',
    "well ... maybe not.| he left.",
    "he waited...| Then he left.",
    "what?!| really...",
    "it ended in 2014.| he left.",
    ". . . and so on .| he left .",
    "天气很好。|我们走吧！|真的吗？|是的",  # noqa: RUF001
    "他说「走吧。」|然后走了。",
    "क्या हुआ।| वह गया।",
    "هل هو هنا؟| نعم۔",  # noqa: RUF001
]


@pytest.mark.parametrize("case", CASES)
def test_sentences_end_where_a_reader_ends_them(case: str) -> None:
    assert split_sentences(case.replace("|", "")) == [part.strip() for part in case.split("|")]


@given(st.text(alphabet="ab.!?…\"'()[] \n\u201d-r", max_size=60))
def test_no_text_is_lost_and_no_sentence_is_blank(document: str) -> None:
    sentences = split_sentences(document)
    assert "".join("".join(sentences).split()) == "".join(document.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
    assert not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize("piece", [".", ". ", 'a . " ', "u.s. ", ".'", "a. "])
def test_hostile_documents_take_linear_time(piece: str) -> None:
    start = time.perf_counter()
    split_sentences(piece * 20_000 + "x")
    assert time.perf_counter() - start < 2  # quadratic time is minutes
