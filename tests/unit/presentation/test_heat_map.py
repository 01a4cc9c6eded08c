"""The picture shows the weights at the places its labels say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from summarizer.presentation.heat_map import colours, draw_heat_map, label


def tokens(count: int) -> list[str]:
    return [f"▁t{number}" for number in range(count)]


def one_hot(rows: int, columns: int, hits: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
    weights = np.zeros((rows, columns))
    weights[tuple(np.array(hits).T)] = 1
    return weights


def squares(picture: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Top left corners (y, x) of the squares in the darkest colour that are larger than a legend's end."""
    dark = (picture == colours(np.array(1.0))).all(axis=-1)
    corners = dark & ~np.roll(dark, 1, axis=0) & ~np.roll(dark, 1, axis=1)
    return [(int(y), int(x)) for y, x in np.argwhere(corners) if dark[y : y + 12, x : x + 12].all()]


def test_each_weight_has_its_square() -> None:
    weights = one_hot(4, 7, [(0, 0), (1, 5), (3, 2)])
    found = squares(draw_heat_map(weights, targets=tokens(4), sources=tokens(7), title="x"))
    (top, left), *others = found
    (down, right) = others[0]
    cell = down - top
    assert right - left == 5 * cell
    assert others[1] == (top + 3 * cell, left + 2 * cell)
    assert len(found) == 3


def test_a_long_source_shows_its_most_attended_span() -> None:
    weights = one_hot(3, 400, [(0, 200), (1, 250), (2, 379)])
    picture = draw_heat_map(weights, targets=tokens(3), sources=tokens(400), title="x")
    (top, left), (down, right) = squares(picture)
    assert right - left == 50 * (down - top)
    assert picture.shape[1] < 1700


def test_a_long_target_shows_its_beginning() -> None:
    weights = one_hot(500, 3, [(0, 0), (59, 1), (60, 2)])
    assert len(squares(draw_heat_map(weights, targets=tokens(500), sources=tokens(3), title="x"))) == 2


def test_the_shown_weights_decide_the_scale() -> None:
    weights = np.full((2, 2), 0.001)
    assert len(squares(draw_heat_map(weights, targets=tokens(2), sources=tokens(2), title="x"))) == 4


@pytest.mark.parametrize("token", ["▁", "", "中文", "🙂", "ж" * 300, "\n", "\x00", "<0xE2>"])
def test_any_token_can_be_drawn(token: str) -> None:
    picture = draw_heat_map(np.zeros((1, 1)), targets=[token], sources=[token], title="Cross-attention")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert max(picture.shape) < 500


def test_labels_use_the_glyphs_there_are() -> None:
    assert label("▁Zoë") == "_Zoe"
    assert len(label("▁" + "long" * 20)) < 20


def test_more_attention_is_darker() -> None:
    lightness = colours(np.linspace(0, 1, 50)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) < 0).all()
