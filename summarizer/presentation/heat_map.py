"""Attention weights and the tokens they belong to in, a picture of one matrix out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

_MOST_ROWS = 60
_MOST_COLUMNS = 80
_LONGEST_LABEL = 16  # characters

_CELL = 17  # pixels, as are all sizes below
_MARGIN = 16
_GAP = 6
_LEGEND_WIDTH, _LEGEND_HEIGHT = 150, 10
_LABEL_FONT = ImageFont.load_default(13)
_TITLE_FONT = ImageFont.load_default(16)

_INK = (40, 42, 54)
_FAINT_INK = (125, 128, 140)
_PAPER = (255, 255, 255)
MARK = (217, 95, 2)
# From near white over green and blue to violet. Lightness only falls, also in print and to the colour-blind.
_COLOURS = np.array(
    [(246, 249, 245), (208, 233, 207), (132, 204, 190), (62, 152, 184), (46, 88, 156), (52, 24, 88)],
    dtype=float,
)


@dataclass(frozen=True)
class Marks:
    """Target tokens to underline, and why."""

    target_T: Sequence[bool]
    meaning: str


@dataclass(frozen=True)
class Span:
    """The part of a matrix of weights that fits a picture, and how to say so."""

    rows: slice
    columns: slice
    remark: str


def draw_heat_map(
    weights_TS: npt.NDArray[np.floating],
    *,
    targets: Sequence[str],
    sources: Sequence[str],
    title: str,
    marks: Marks | None = None,
) -> Pixels:
    """A picture, (height, width, 3): target tokens down the side, source tokens across the top.

    Of a long source it shows the span of 80 tokens that gets the most attention, of a long target the first
    60 tokens, and says so under the title. Colours run from 0 to the greatest weight shown.

    :param weights_TS: row t shares attention among the sources when ``targets[t]`` is predicted.
    :param targets: T token pieces, a leading "▁" standing for a space.
    :param sources: S token pieces.
    """
    assert weights_TS.shape == (len(targets), len(sources)), f"{weights_TS.shape} weights do not fit the tokens"
    span = most_attended_span(weights_TS)
    view = _View(
        weights_TS[span.rows, span.columns],
        list(targets[span.rows]),
        list(sources[span.columns]),
        list((marks.target_T if marks else [False] * len(targets))[span.rows]),
        "; ".join(filter(None, [span.remark, f"underlined: {marks.meaning}" if marks else ""])),
    )
    return _draw(view, title)


@dataclass(frozen=True)
class _View:
    """What a picture shows."""

    weights: npt.NDArray[np.floating]
    targets: list[str]
    sources: list[str]
    marked: list[bool]  # targets to underline
    remark: str


def _draw(view: _View, title: str) -> Pixels:
    columns = [_rotated_label(token) for token in view.sources]
    left = _MARGIN + max(_text_width(label(token), _LABEL_FONT) for token in view.targets) + _GAP
    top = _MARGIN + 46 + max(column.height for column in columns) + _GAP
    grid_width, grid_height = _CELL * len(view.sources), _CELL * len(view.targets)
    title_width = _text_width(title, _TITLE_FONT)
    remark_width = _text_width(view.remark, _LABEL_FONT)
    width = max(left + grid_width, _MARGIN + max(title_width, remark_width, _LEGEND_WIDTH + 80)) + _MARGIN
    height = top + grid_height + _GAP * 2 + _LEGEND_HEIGHT + _MARGIN + 4
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, font=_TITLE_FONT, fill=_INK, anchor="lt")
    draw.text((_MARGIN, _MARGIN + 24), view.remark, font=_LABEL_FONT, fill=_FAINT_INK, anchor="lt")
    _draw_labels(picture, view, columns, left=left, top=top)
    greatest = max(float(view.weights.max()), 1e-9)
    _draw_grid(picture, view.weights / greatest, left=left, top=top)
    _draw_legend(picture, greatest, left=left, top=top + grid_height + 2 * _GAP)
    return np.asarray(picture)


def label(token: str) -> str:
    """``token`` for Pillow's built-in font: "▁" becomes "_", accents go; other scripts turn into boxes."""
    plain = unicodedata.normalize("NFKD", token.replace("▁", "_").replace("—", "-"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return plain if len(plain) <= _LONGEST_LABEL else plain[: _LONGEST_LABEL - 1] + "…"


def colours(shares: npt.NDArray[np.floating]) -> Pixels:
    """Numbers between 0 and 1 as colours, in one more dimension of three."""
    anchors = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(shares, anchors, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def most_attended_span(weights_TS: npt.NDArray[np.floating]) -> Span:
    """The 80 neighbouring source tokens that get the most attention, and the first 60 target tokens."""
    targets, sources = weights_TS.shape
    rows, columns = min(targets, _MOST_ROWS), min(sources, _MOST_COLUMNS)
    attention_S = weights_TS[:rows].sum(axis=0)
    totals = np.convolve(attention_S, np.ones(columns), mode="valid")
    start = int(totals.argmax())
    remarks = []
    if columns < sources:
        share = totals[start] / max(float(attention_S.sum()), 1e-9)
        remarks.append(f"source tokens {start + 1}-{start + columns} of {sources}: {share:.0%} of the attention")
    if rows < targets:
        remarks.append(f"target tokens 1-{rows} of {targets}")
    return Span(slice(rows), slice(start, start + columns), "; ".join(remarks))


def _draw_labels(picture: Image.Image, view: _View, columns: Sequence[Image.Image], *, left: int, top: int) -> None:
    draw = ImageDraw.Draw(picture)
    for row, (token, marked) in enumerate(zip(view.targets, view.marked, strict=True)):
        middle, right = top + row * _CELL + _CELL // 2, left - _GAP
        draw.text((right, middle), label(token), font=_LABEL_FONT, fill=_INK, anchor="rm")
        if marked:
            line = middle + _CELL // 2 - 1
            draw.line((right - _text_width(label(token), _LABEL_FONT), line, right, line), fill=MARK, width=2)
    for index, column in enumerate(columns):
        centre = left + index * _CELL + _CELL // 2
        picture.paste(column, (centre - column.width // 2, top - _GAP - column.height))


def _rotated_label(token: str) -> Image.Image:
    """The label of a column, read from bottom to top."""
    text = label(token)
    upright = Image.new("RGB", (_text_width(text, _LABEL_FONT), _CELL - 1), _PAPER)
    ImageDraw.Draw(upright).text((0, _CELL // 2), text, font=_LABEL_FONT, fill=_INK, anchor="lm")
    return upright.transpose(Image.Transpose.ROTATE_90)


def _draw_grid(picture: Image.Image, shares_TS: npt.NDArray[np.floating], *, left: int, top: int) -> None:
    """One square for each weight, with a hairline of paper between them."""
    squares = colours(shares_TS).repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    squares[_CELL - 1 :: _CELL] = _PAPER
    squares[:, _CELL - 1 :: _CELL] = _PAPER
    picture.paste(Image.fromarray(squares), (left, top))


def _draw_legend(picture: Image.Image, greatest: float, *, left: int, top: int) -> None:
    draw = ImageDraw.Draw(picture)
    ramp = colours(np.linspace(0, 1, _LEGEND_WIDTH))[None].repeat(_LEGEND_HEIGHT, axis=0)
    start = left + _text_width("0", _LABEL_FONT) + _GAP
    middle = top + _LEGEND_HEIGHT // 2
    draw.text((left, middle), "0", font=_LABEL_FONT, fill=_FAINT_INK, anchor="lm")
    picture.paste(Image.fromarray(ramp), (start, top))
    end = start + _LEGEND_WIDTH + _GAP
    draw.text((end, middle), f"{greatest:.2f}", font=_LABEL_FONT, fill=_FAINT_INK, anchor="lm")


def _text_width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(np.ceil(font.getlength(text))) if text else 1
