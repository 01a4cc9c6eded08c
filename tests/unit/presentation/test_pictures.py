"""Each picture shows the layer and head it says, and marks the copied words."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from summarizer.presentation import pictures
from summarizer.presentation.head_grid import draw_head_grid
from summarizer.presentation.heat_map import MARK, Pixels, colours
from summarizer.presentation.pictures import attention_pictures, attention_png
from summarizer.presentation.trace import AttentionTrace

MakeTrace = Callable[..., AttentionTrace]


def marked_rows(picture: Pixels) -> int:
    """Lines in the colour of the marks."""
    lines = (picture == MARK).all(axis=-1).any(axis=1)
    return int((lines & ~np.roll(lines, 1)).sum())


def test_the_average_and_each_layer_are_means_of_their_weights(
    make_trace: MakeTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []

    def draw(weights: np.ndarray, **texts: object) -> Pixels:
        drawn.append(weights)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(pictures, "draw_heat_map", draw)
    trace = make_trace(pointer=True)
    names = list(attention_pictures(trace))
    assert names == sorted(names) == ["average", "every_head", "layer_01", "layer_02", "pointer"]
    weights = trace.weights_LHTS
    expected = [
        sum(weights[layer, head] for layer in range(2) for head in range(3)) / 6,
        sum(weights[0]) / 3,
        sum(weights[1]) / 3,
        trace.copy_TS,
    ]
    for found, wanted in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_of_a_deep_model_four_layers_are_drawn_among_them_first_and_last(make_trace: MakeTrace) -> None:
    names = [name for name in attention_pictures(make_trace(layers=12)) if name.startswith("layer")]
    assert len(names) == 4
    assert (names[0], names[-1]) == ("layer_01", "layer_12")


def test_shared_words_are_underlined_and_with_a_pointer_what_it_copied(make_trace: MakeTrace) -> None:
    assert marked_rows(attention_pictures(make_trace())["average"]) == 1  # of "The arty": The
    pointer = make_trace(pointer=True)  # copied with 0, 1/3, 2/3, 1
    assert marked_rows(attention_pictures(pointer)["average"]) == 2
    assert marked_rows(attention_pictures(make_trace(targets=("▁x", "</s>")))["average"]) == 0


def test_every_head_has_its_panel_in_the_row_of_its_layer() -> None:
    weights = np.zeros((2, 3, 8, 10), np.float32)
    for layer in range(2):
        for head in range(3):
            weights[layer, head, layer, 2 * head] = 1 / (1 + head)  # each its own scale
    picture = draw_head_grid(weights, title="x")
    dark = (picture == colours(np.array(1.0))).all(axis=-1)
    corners = np.argwhere(dark & ~np.roll(dark, 1, axis=0) & ~np.roll(dark, 1, axis=1))
    assert len(corners) == 6
    (y0, x0), (y1, x1), (y2, x2) = corners[:3]
    assert y0 == y1 == y2
    assert x1 - x0 == x2 - x1
    assert corners[3][0] - y0 > 8  # one panel below, and one token more


def test_many_heads_fit_a_screen() -> None:
    assert draw_head_grid(np.full((12, 16, 60, 200), 0.01), title="x").shape[1] < 1800


def test_the_png_is_the_average(make_trace: MakeTrace) -> None:
    trace = make_trace()
    picture = np.asarray(Image.open(io.BytesIO(attention_png(trace))))
    np.testing.assert_array_equal(picture, attention_pictures(trace)["average"])
    other = dataclasses.replace(trace, weights_LHTS=trace.weights_LHTS[..., ::-1])
    assert attention_png(other) != attention_png(trace)


def test_the_pictures_of_a_validation_stay_small(make_trace: MakeTrace) -> None:
    sources, targets = tuple(f"▁word{n}" for n in range(400)), tuple(f"▁word{n}" for n in range(60))
    size = 0
    for picture in attention_pictures(make_trace(sources, targets, layers=12, heads=8)).values():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="PNG")
        size += file.tell()
    assert size < 1_000_000  # of random weights, which no file format can pack; of a trained model's, 350 KB
