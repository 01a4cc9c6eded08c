"""An attention trace in; the pictures for TensorBoard and the one for a .png file out."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from summarizer.presentation.head_grid import draw_head_grid
from summarizer.presentation.heat_map import Marks, Pixels, draw_heat_map
from summarizer.presentation.trace import AttentionTrace, Weights
from summarizer.presentation.words import shared_words, token_texts

__all__ = ["Pixels", "attention_pictures", "attention_png"]

_MOST_LAYERS = 4  # each costs 60 KB of a validation's event file


def attention_pictures(trace: AttentionTrace) -> dict[str, Pixels]:
    """By name, in the order of their names: the average, every head in small, each layer, the pointer if any.

    Of a model with more than four layers, four of them: the first, the last and two between.
    """
    pictures = {
        "average": _map(trace, trace.average, "cross-attention, mean of layers and heads"),
        "every_head": draw_head_grid(trace.weights_LHTS, title="cross-attention of every head"),
    }
    layers = len(trace.weights_LHTS)
    for layer in sorted(set(np.linspace(0, layers - 1, _MOST_LAYERS).round().astype(int).tolist())):
        title = f"cross-attention, mean of the heads of layer {layer + 1}"
        pictures[f"layer_{layer + 1:02}"] = _map(trace, trace.weights_LHTS[layer].mean(axis=0), title)
    if trace.copy_TS is not None:
        pictures["pointer"] = _map(trace, trace.copy_TS, "what the pointer would copy")
    return pictures


def attention_png(trace: AttentionTrace) -> bytes:
    """The average of all layers and heads as a file."""
    file = io.BytesIO()
    picture = _map(trace, trace.average, "cross-attention, mean of layers and heads")
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _map(trace: AttentionTrace, weights_TS: Weights, title: str) -> Pixels:
    return draw_heat_map(weights_TS, targets=trace.targets, sources=trace.sources, title=title, marks=_marks(trace))


def _marks(trace: AttentionTrace) -> Marks:
    if trace.copied_T is not None:
        return Marks([bool(share > 0.5) for share in trace.copied_T], "more copied than chosen from the vocabulary")
    words = shared_words(token_texts(trace.sources), token_texts(trace.targets))
    return Marks([number >= 0 for number in words.target_T], "words that also stand in the document")
