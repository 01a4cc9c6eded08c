"""The page holds the weights, and nothing in it but our own script can act."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from summarizer.presentation.attention_page import PageEntry, attention_page
from summarizer.presentation.quantized import Quantized
from summarizer.presentation.trace import AttentionTrace

MakeTrace = Callable[..., AttentionTrace]

HOSTILE = ("</script>", "▁<script>alert(1)</script>", "<!--", "<!-- articles -->", "]]>", '"', "\\", "\u2028", "&lt;")


OUR_SCRIPTS = 2  # weights.js and the page's own, after the articles


class _Elements(HTMLParser):
    """Every element as a browser sees it, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def articles(page: str) -> list[dict[str, Any]]:
    return [json.loads(script) for script in _Elements(page).scripts[:-OUR_SCRIPTS]]


def decoded(matrix: dict[str, str], *shape: int) -> npt.NDArray[np.float32]:
    """As the page's script reads it."""
    levels = np.frombuffer(base64.b64decode(matrix["levels"]), np.uint8).reshape(shape)
    scales = np.frombuffer(base64.b64decode(matrix["scales"]), "<f4").reshape(shape[:-1])
    return levels * scales[..., None]


def assert_within_half_a_level(found: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> None:
    assert (np.abs(found - weights) <= 0.501 * weights.max(axis=-1, keepdims=True) / 255).all()


def test_the_page_holds_the_weights_of_every_layer_head_and_token(make_trace: MakeTrace) -> None:
    trace = make_trace(pointer=True)
    (article,) = articles(attention_page([PageEntry("a", trace, unread=5)]))
    shape = (article["layers"], article["heads"], len(article["target"]["texts"]), len(article["source"]["texts"]))
    assert shape == trace.weights_LHTS.shape
    assert_within_half_a_level(decoded(article["cross"], *shape), trace.weights_LHTS)
    assert trace.copy_TS is not None
    assert trace.copied_T is not None
    assert_within_half_a_level(decoded(article["pointer"], *shape[2:]), trace.copy_TS)
    assert article["pointer"]["copied"] == pytest.approx(trace.copied_T.tolist(), abs=1e-4)
    assert (article["name"], article["unread"]) == ("a", 5)
    assert (article["source"]["pieces"], article["target"]["pieces"]) == (trace.sources, trace.targets)


def test_a_model_without_pointer_has_no_pointer_on_the_page(make_trace: MakeTrace) -> None:
    (article,) = articles(attention_page([PageEntry("a", make_trace())]))
    assert article["pointer"] is None
    assert [word >= 0 for word in article["target"]["words"]] == [True, False, False, False]  # the, arty


@pytest.mark.filterwarnings("error")
def test_rows_of_zeros_and_of_one_weight_survive() -> None:
    weights = np.array([[0, 0, 0], [0, 1, 0], [1e-30, 0, 2e-30]], dtype=np.float32)
    levels, scales = Quantized.of(weights)
    np.testing.assert_allclose(levels * scales[:, None], weights, rtol=0.01)


def test_no_text_becomes_markup(make_trace: MakeTrace) -> None:
    plain = _Elements(attention_page([PageEntry("a", make_trace())]))
    trace = make_trace(HOSTILE, HOSTILE[::-1])
    page = attention_page([PageEntry("</script></title><b>\ud800", trace)])
    page.encode("utf-8")
    hostile = _Elements(page)
    assert hostile.elements == plain.elements
    assert hostile.scripts[-OUR_SCRIPTS:] == plain.scripts[-OUR_SCRIPTS:]
    (article,) = articles(page)
    assert article["target"]["pieces"] == list(HOSTILE[::-1])
    assert article["name"] == "</script></title><b>\ud800"


def test_several_articles_stand_in_their_order(make_trace: MakeTrace) -> None:
    page = attention_page(PageEntry(name, make_trace()) for name in ("b", "a"))
    assert [article["name"] for article in articles(page)] == ["b", "a"]


def test_the_page_needs_nothing_but_itself(make_trace: MakeTrace) -> None:
    page = attention_page([PageEntry("a", make_trace())])
    elements = _Elements(page).elements
    assert not [(tag, attributes) for tag, attributes in elements if {"src", "href", "data"} & set(attributes)]
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|innerHTML|import\(", page)
    policies = [attributes["content"] for _, attributes in elements if "http-equiv" in attributes]
    assert len(policies) == 1
    assert (policies[0] or "").startswith("default-src 'none'")


def test_a_long_document_makes_a_page_of_a_few_megabytes(make_trace: MakeTrace) -> None:
    sources, targets = tuple(f"▁w{n}" for n in range(800)), tuple(f"▁w{n}" for n in range(100))
    page = attention_page([PageEntry("long", make_trace(sources, targets, layers=6, heads=4))])
    assert 24 * 800 * 100 < len(page) < 3_000_000
