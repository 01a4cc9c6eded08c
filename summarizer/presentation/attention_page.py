"""Attention traces in, one HTML page to explore them out: it needs no network and no other file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from summarizer.presentation.trace import AttentionTrace, Weights
from summarizer.presentation.words import shared_words, token_texts

_TEMPLATE = Path(__file__).with_name("attention_page.html")
_PLACE_FOR_ARTICLES = "<!-- articles -->"
_GREATEST_LEVEL = 255
# JSON inside a script element: with these as \u escapes, no text can end the element or start a comment.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


@dataclass(frozen=True)
class PageEntry:
    """One article of a page."""

    name: str
    trace: AttentionTrace
    unread: int = 0  # tokens of the article that the model did not read


class Quantized(NamedTuple):
    """Weights as levels from 0 to 255 of a scale for each row; off by half a level at most."""

    levels: npt.NDArray[np.uint8]  # (..., S)
    scales: npt.NDArray[np.float32]  # (...): the weight of one level

    @classmethod
    def of(cls, weights: Weights) -> Quantized:
        scales = (weights.max(axis=-1) / _GREATEST_LEVEL).astype(np.float32)
        steps = np.where(scales > 0, scales, 1)[..., None]
        return cls((weights / steps).round().clip(0, _GREATEST_LEVEL).astype(np.uint8), scales)


def attention_page(entries: Iterable[PageEntry]) -> str:
    """The page. Each entry becomes a script element of JSON, see :func:`_article`; the template draws it."""
    head, place, tail = _TEMPLATE.read_text(encoding="utf-8").partition(_PLACE_FOR_ARTICLES)
    assert place, f"{_TEMPLATE} has no {_PLACE_FOR_ARTICLES}"
    scripts = [
        f'<script type="application/json" class="article">{json.dumps(_article(entry)).translate(_ESCAPES)}</script>'
        for entry in entries
    ]
    return head + "\n".join(scripts) + tail


def _article(entry: PageEntry) -> dict[str, Any]:
    """What the page knows of an article. Matrices are little-endian, row-major, base64."""
    trace = entry.trace
    source_texts, target_texts = token_texts(trace.sources), token_texts(trace.targets)
    words = shared_words(source_texts, target_texts)
    layers, heads = trace.weights_LHTS.shape[:2]
    pointer = None
    if trace.copy_TS is not None and trace.copied_T is not None:
        pointer = {**_matrix(trace.copy_TS), "copied": [round(float(share), 4) for share in trace.copied_T]}
    return {
        "name": entry.name,
        "unread": entry.unread,
        "source": {"pieces": trace.sources, "texts": source_texts, "words": words.source_S},
        "target": {"pieces": trace.targets, "texts": target_texts, "words": words.target_T},
        "layers": layers,
        "heads": heads,
        "cross": _matrix(trace.weights_LHTS),
        "pointer": pointer,
    }


def _matrix(weights: Weights) -> dict[str, str]:
    levels, scales = Quantized.of(weights)
    return {"levels": _base64(levels.tobytes()), "scales": _base64(scales.astype("<f4").tobytes())}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
