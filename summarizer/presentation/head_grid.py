"""The attention weights of every head in, one picture of them all out.

L decoder layers, H heads, T target, S source.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from summarizer.presentation.heat_map import Pixels, colours, most_attended_span

_WIDEST = 1600  # pixels, as are all sizes below
_LARGEST_CELL = 4
_MARGIN = 16
_GAP = 10
_SHADES = 16  # so few that a PNG file packs the many cells well
_SIDE = 66  # for the names of the layers
_TOP = 84  # for title, remark and the names of the heads
_FONT = ImageFont.load_default(13)
_TITLE_FONT = ImageFont.load_default(16)
_INK, _FAINT_INK, _PAPER = (40, 42, 54), (125, 128, 140), (255, 255, 255)


def draw_head_grid(weights_LHTS: npt.NDArray[np.floating], *, title: str) -> Pixels:
    """A small picture for each head, (height, width, 3) in all: layers down the side, heads across the top.

    All show the part of the matrix that :func:`draw_heat_map` shows of their mean; each has its own scale of
    colours, from 0 to its greatest weight.
    """
    span = most_attended_span(weights_LHTS.mean(axis=(0, 1)))
    shown_LHTS = weights_LHTS[:, :, span.rows, span.columns]
    layers, heads, targets, sources = shown_LHTS.shape
    cell = max(1, min(_LARGEST_CELL, (_WIDEST // heads - _GAP) // sources))
    across, down = sources * cell + _GAP, targets * cell + _GAP
    remark = "; ".join(filter(None, [span.remark, "each from 0 to its own greatest weight"]))
    text_width = max(_FONT.getlength(remark), _TITLE_FONT.getlength(title))
    width = max(_SIDE + heads * across, int(text_width) + _MARGIN) + 2 * _MARGIN
    picture = Image.new("RGB", (width, _TOP + layers * down + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, font=_TITLE_FONT, fill=_INK, anchor="lt")
    draw.text((_MARGIN, _MARGIN + 24), remark, font=_FONT, fill=_FAINT_INK, anchor="lt")
    for head in range(heads):
        name = f"head {head + 1}" if across > 60 else str(head + 1)
        draw.text((_MARGIN + _SIDE + head * across, _TOP - 6), name, font=_FONT, fill=_INK, anchor="ls")
    for layer in range(layers):
        top = _TOP + layer * down
        draw.text((_MARGIN, top), f"layer {layer + 1}", font=_FONT, fill=_INK, anchor="lt")
        for head in range(heads):
            picture.paste(_panel(shown_LHTS[layer, head], cell), (_MARGIN + _SIDE + head * across, top))
    return np.asarray(picture)


def _panel(weights_TS: npt.NDArray[np.floating], cell: int) -> Image.Image:
    shares = weights_TS / max(float(weights_TS.max()), 1e-9)
    shares = (shares * (_SHADES - 1)).round() / (_SHADES - 1)
    return Image.fromarray(colours(shares).repeat(cell, axis=0).repeat(cell, axis=1))
