"""Attention traces in, one HTML page to explore them out: it needs no network and no other file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from summarizer.presentation.quantized import matrix_json
from summarizer.presentation.trace import AttentionTrace
from summarizer.presentation.words import shared_words, token_texts

_TEMPLATE = Path(__file__).with_name("attention_page.html")
_PLACE_FOR_ARTICLES = "<!-- articles -->"
# JSON inside a script element: with these as \u escapes, no text can end the element or start a comment.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


@dataclass(frozen=True)
class PageEntry:
    """One article of a page."""

    name: str
    trace: AttentionTrace
    unread: int = 0  # tokens of the article that the model did not read


def attention_page(entries: Iterable[PageEntry]) -> str:
    """The page. Each entry becomes a script element of JSON, see :func:`_article`; the template draws it."""
    head, place, tail = _template().partition(_PLACE_FOR_ARTICLES)
    assert place, f"{_TEMPLATE} has no {_PLACE_FOR_ARTICLES}"
    scripts = [
        f'<script type="application/json" class="article">{json.dumps(_article(entry)).translate(_ESCAPES)}</script>'
        for entry in entries
    ]
    return head + "\n".join(scripts) + tail


def _article(entry: PageEntry) -> dict[str, Any]:
    """What the page knows of an article. Matrices are those of weights.js."""
    trace = entry.trace
    source_texts, target_texts = token_texts(trace.sources), token_texts(trace.targets)
    words = shared_words(source_texts, target_texts)
    layers, heads = trace.weights_LHTS.shape[:2]
    pointer = None
    if trace.copy_TS is not None and trace.copied_T is not None:
        pointer = {**matrix_json(trace.copy_TS), "copied": [round(float(share), 4) for share in trace.copied_T]}
    return {
        "name": entry.name,
        "unread": entry.unread,
        "source": {"pieces": trace.sources, "texts": source_texts, "words": words.source_S},
        "target": {"pieces": trace.targets, "texts": target_texts, "words": words.target_T},
        "layers": layers,
        "heads": heads,
        "cross": matrix_json(trace.weights_LHTS),
        "pointer": pointer,
    }


def _template() -> str:
    """The template with the files it links to inside it."""
    page = _TEMPLATE.read_text(encoding="utf-8")
    for link, start, end in (
        ('<link rel="stylesheet" href="house.css">', "<style>", "</style>"),
        ('<script src="weights.js"></script>', "<script>", "</script>"),
    ):
        name = link.split('"')[-2]
        assert page.count(link) == 1, f"{_TEMPLATE} does not link to {name} once"
        content = _TEMPLATE.with_name(name).read_text(encoding="utf-8")
        page = page.replace(link, f"{start}\n{content}{end}")
    return page
