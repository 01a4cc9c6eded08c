"""Numbers in, small SVG pictures out, drawn with the colours of the page around them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from summarizer.evaluation.bootstrap import Interval

_WIDTH, _HEIGHT = 460, 190  # of a histogram
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 34
_SCALE_WIDTH, _SCALE_HEIGHT = 300, 30


class Series(NamedTuple):
    """The first of a histogram is drawn as bars, the others as outlines."""

    label: str
    values: Sequence[float]


def histogram(title: str, unit: str, series: Sequence[Series], *, width: float, most: float | None = None) -> str:
    """Counts of values in bins of ``width``; those above ``most`` fall into the last one."""
    top = most if most is not None else max(max(each.values, default=0) for each in series)
    bins = max(1, math.ceil(top / width))
    edges = [place * width for place in range(bins + 1)]
    counts = [_counts(each.values, edges) for each in series]
    highest = max(1, *map(max, counts))
    middles = [f"{name}: mean {np.mean(values):.1f}, median {np.median(values):.1f}" for name, values in series]
    described = html.escape(f"{title}. {'; '.join(middles)}")
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{described}">',
        *_grid(highest),
        *_bars(counts[0], highest),
        *(_outline(each, highest, number) for number, each in enumerate(counts[1:], start=1)),
        *_ticks(edges, is_cut=any(max(each.values, default=0) > edges[-1] for each in series)),
        f'<text class="unit" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 3}" text-anchor="end">{html.escape(unit)}</text>',
    ]
    return "".join([*parts, "</svg>"])


def scale(interval: Interval, others: Sequence[tuple[str, float]], greatest: float) -> str:
    """A mean with its interval among other means, from 0 to ``greatest``."""

    def x(value: float) -> float:
        return round(4 + (_SCALE_WIDTH - 8) * value / greatest, 1)

    middle = _SCALE_HEIGHT / 2
    spoken = [
        f"{100 * interval.mean:.1f}, 95% interval {100 * interval.low:.1f} to {100 * interval.high:.1f}",
        *(f"{label} {100 * value:.1f}" for label, value in others),
    ]
    lines = [
        f'<line class="other other{number}" x1="{x(value)}" x2="{x(value)}" y1="4" y2="{_SCALE_HEIGHT - 4}">'
        f"<title>{html.escape(label)} {100 * value:.2f}</title></line>"
        for number, (label, value) in enumerate(others)
    ]
    end = max(x(interval.high), x(interval.low) + 1)  # an interval without width is seen too
    return "".join(
        [
            f'<svg class="scale" viewBox="0 0 {_SCALE_WIDTH} {_SCALE_HEIGHT}" role="img" ',
            f'aria-label="{html.escape("; ".join(spoken))}">',
            f'<line class="axis" x1="4" x2="{_SCALE_WIDTH - 4}" y1="{middle}" y2="{middle}"/>',
            *lines,
            f'<line class="interval" x1="{x(interval.low)}" x2="{end}" y1="{middle}" y2="{middle}"/>',
            f'<circle class="mean" cx="{x(interval.mean)}" cy="{middle}" r="4"/></svg>',
        ]
    )


def sign(number: int) -> str:
    """For a legend: the mark of the mean on a :func:`scale` (-1), or of one of the others (from 0 on)."""
    if number < 0:
        shape = '<line class="interval" x1="2" x2="22" y1="8" y2="8"/><circle class="mean" cx="12" cy="8" r="4"/>'
    else:
        shape = f'<line class="other other{number}" x1="12" x2="12" y1="1" y2="15"/>'
    return f'<svg class="sign" viewBox="0 0 24 16" aria-hidden="true">{shape}</svg>'


def _counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie between each two edges; those beyond the last fall into the last bin."""
    within = np.clip(values, edges[0], edges[-1])
    return [int(count) for count in np.histogram(within, edges)[0]]


def _x(place: float, bins: int) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * place / bins, 1)


def _y(count: float, highest: int) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / highest, 1)


def _grid(highest: int) -> list[str]:
    parts = []
    for count in sorted({0, highest // 2, highest}):
        y = _y(count, highest)
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{count:,}</text>')
    return parts


def _bars(counts: Sequence[int], highest: int) -> list[str]:
    bins = len(counts)
    wide = round(_x(1, bins) - _x(0, bins) - 1, 1)
    tops = [_y(count, highest) for count in counts]
    base = _y(0, highest)
    return [
        f'<rect class="bar" x="{_x(place, bins) + 0.5}" y="{top}" width="{wide}" height="{round(base - top, 1)}"/>'
        for place, top in enumerate(tops)
        if top < base
    ]


def _outline(counts: Sequence[int], highest: int, number: int) -> str:
    bins = len(counts)
    points = [f"{_x(0, bins)},{_y(0, highest)}"]
    for place, count in enumerate(counts):
        points += [f"{_x(place, bins)},{_y(count, highest)}", f"{_x(place + 1, bins)},{_y(count, highest)}"]
    points.append(f"{_x(bins, bins)},{_y(0, highest)}")
    return f'<polyline class="outline outline{number}" points="{" ".join(points)}"/>'


def _ticks(edges: Sequence[float], is_cut: bool) -> list[str]:
    bins = len(edges) - 1
    places = range(0, bins + 1, max(1, math.ceil(bins / 6)))
    labels = [f"{edges[place]:g}" + ("+" if is_cut and place == bins else "") for place in places]
    y = _HEIGHT - _BOTTOM + 15
    return [
        f'<text x="{_x(place, bins)}" y="{y}" text-anchor="middle">{label}</text>'
        for place, label in zip(places, labels, strict=True)
    ]
