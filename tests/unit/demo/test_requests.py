"""What a client sends is a request or a refusal that says what is wrong; nothing else can come of it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.config import DecodingOverrides
from summarizer.decoding.config import DecodingMethod
from summarizer.decoding.reading import LongDocument
from summarizer.demo.requests import MOST_CHARACTERS, Refusal, SummaryRequest, parse


def request(**parts: Any) -> SummaryRequest:
    return parse(json.dumps({"text": "Some text.", **parts}).encode(), runs=2)


def test_a_request_is_read_as_it_was_meant() -> None:
    decoding = {"method": "sample", "top_k": 5.0, "temperature": 1, "early_stop": True, "seed": None}
    found = request(run=1, text="Été\n\ud800", summaries=3, decoding=decoding)
    chosen = DecodingOverrides(method=DecodingMethod.sample, top_k=5, temperature=1.0, early_stop=True)
    assert found == SummaryRequest(run=1, text="Été\n\ud800", summaries=3, decoding=chosen)
    assert isinstance(found.decoding.top_k, int)
    found = request(prefix="The council", long_document="split")
    assert (found.prefix, found.long_document) == ("The council", LongDocument.split)


def test_what_is_left_out_is_as_in_the_run() -> None:
    assert request() == SummaryRequest(run=0, text="Some text.", summaries=1, decoding=DecodingOverrides())


BAD: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "not UTF-8": (b'{"text": "\xff"}', "not UTF-8 text (byte 10)"),
    "not JSON": (b"text=hello", "not JSON"),
    "nested without end": (b"[" * 100_000, "not JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "no text": (b"{}", "text must be a string"),
    "a number for a text": ({"text": 3}, "text must be a string"),
    "white space": ({"text": " \n"}, "no text to summarize"),
    "a zero byte": ({"text": "PK\x03\x04 \0"}, "binary file"),
    "many control characters": ({"text": "\x01\x02\x03 PNG"}, "binary file"),
    "what was no UTF-8 before": ({"text": "\ufffd\ufffd PNG"}, "binary file"),
    "an unknown part": ({"texts": []}, "texts is not a part of a request"),
    "a run that is not there": ({"run": 2}, "run must be a whole number from 0 to 1"),
    "a run by name": ({"run": "../../etc"}, "run must be a whole number"),
    "true for a number": ({"run": True}, "run must be a whole number"),
    "no summaries": ({"summaries": 0}, "summaries must be a whole number from 1"),
    "too many summaries": ({"summaries": 17}, "from 1 to 16"),
    "a list of settings": ({"decoding": []}, "decoding must be a JSON object"),
    "a list for a beginning": ({"prefix": []}, "prefix must be a text"),
    "a beginning without end": ({"prefix": "a" * 1001}, "prefix has 1,001 characters and may have 1,000"),
    "an unknown way to read": ({"long_document": "half"}, "long_document must be one of truncate, lead, split"),
    "a number for a way to read": ({"long_document": 3}, "long_document must be one of"),
    "an unknown setting": (
        {"decoding": {"beams": 3}},
        "decoding.beams is not a setting; the settings are beam_groups, beam_size",
    ),
    "a setting for many documents": ({"decoding": {"max_batch_tokens": 1}}, "decoding.max_batch_tokens is not"),
    "a word for a number": ({"decoding": {"beam_size": "4"}}, "decoding.beam_size must be a number"),
    "a fraction": ({"decoding": {"beam_size": 1.5}}, "decoding.beam_size (1.5) must be a whole number"),
    "no number": (b'{"text": "a", "decoding": {"temperature": NaN}}', "decoding.temperature must be a number"),
    "infinity": (b'{"text": "a", "decoding": {"beam_size": 1e999}}', "decoding.beam_size must be a number"),
    "an unknown method": ({"decoding": {"method": "magic"}}, "decoding.method must be one of beam, sample"),
    "a number for a switch": ({"decoding": {"early_stop": 1}}, "decoding.early_stop must be true or false"),
    "a beam that fills the memory": ({"decoding": {"beam_size": 1000}}, "decoding.beam_size (1000) may be at most 16"),
    "a summary without end": ({"decoding": {"max_tokens": 9999}}, "decoding.max_tokens (9999) may be at most 512"),
}


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_refused_with_the_reason(case: str) -> None:
    content, reason = BAD[case]
    body = content if isinstance(content, bytes) else json.dumps({"text": "Some text.", **content}).encode()
    with pytest.raises(Refusal) as refusal:
        parse(body, runs=2)
    assert refusal.value.status is HTTPStatus.BAD_REQUEST
    assert reason in str(refusal.value)


def test_a_text_may_have_so_many_characters_and_not_one_more() -> None:
    assert len(request(text="ä" * MOST_CHARACTERS).text) == MOST_CHARACTERS
    with pytest.raises(Refusal, match="may have 100,000") as refusal:
        request(text="ä" * (MOST_CHARACTERS + 1))
    assert refusal.value.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
PARTS = st.fixed_dictionaries(
    {"text": VALUES | st.just("a")},
    optional={
        "run": VALUES,
        "summaries": VALUES,
        "prefix": VALUES,
        "long_document": VALUES | st.just("lead"),
        "decoding": VALUES | st.dictionaries(st.sampled_from(["method", "beam_size", "top_p", "early_stop"]), VALUES),
    },
)


@given(st.binary(max_size=40) | PARTS.map(lambda parts: json.dumps(parts).encode()))
def test_any_bytes_give_a_request_or_a_refusal(body: bytes) -> None:
    try:
        found = parse(body, runs=1)
    except Refusal:
        return
    assert found.text.strip()
    assert 1 <= found.summaries <= 16
