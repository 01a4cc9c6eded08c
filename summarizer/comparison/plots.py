"""Costs and reaches in, pictures out. The only file that knows matplotlib, which is an optional dependency."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from PIL import Image

from summarizer.comparison.cost import Cost, CostPoint
from summarizer.comparison.mechanisms import REFERENCES
from summarizer.comparison.reach import Accuracy, Reach
from summarizer.comparison.recall import CHANCE, distance_range

# The colour-blind tell these apart within either of the groups below (after Okabe & Ito 2008 and Tol 2021).
_COLOURS = {
    "scaled_dot+alibi": "#0072B2",
    "dot+alibi": "#56B4E9",
    "general+alibi": "#009E73",
    "additive+alibi": "#D55E00",
    "convolution": "#E69F00",
    "lstm": "#CC79A7",
    "scaled_dot+relative_bias": "#44AA99",
    "scaled_dot+rotary": "#332288",
    "scaled_dot+sinusoidal": "#AA4466",
    "scaled_dot+none": "#888888",
}
_OTHER_COLOURS = ["#000000", "#999933", "#661100", "#6699CC", "#88CCEE", "#CC6677", "#117733", "#DDCC77"]
_MARKERS = "osD^vPXh<>"
_INK = "#28303A"
_DOTS_AN_INCH = 110


def draw_costs(costs: Sequence[Cost], path: Path) -> Path:
    """Operations, time and memory against length, on logarithmic axes: above the scores, below the positions."""
    names = [cost.mechanism for cost in costs]
    groups = {"scores and references": _by_score(names), "positions": _by_positions(names)}
    groups = {label: group for label, group in groups.items() if group}
    measures: list[tuple[str, Callable[[CostPoint], float]]] = [
        ("billion floating-point operations", lambda point: point.flops / 1e9),
        ("milliseconds", lambda point: point.seconds * 1e3),
        ("peak memory, MiB", lambda point: point.peak_bytes / 2**20),
    ]
    figure = _figure(12, 4.1 * len(groups), "What one mixer costs, forward and backward, one sequence")
    all_axes = figure.subplots(len(groups), len(measures), squeeze=False, sharex=True, sharey="col")
    for axes_of_group, (label, group) in zip(all_axes, groups.items(), strict=True):
        for axes, (title, value) in zip(axes_of_group, measures, strict=True):
            for name in group:
                points: dict[int, CostPoint] = next(cost.by_length for cost in costs if cost.mechanism == name)
                _line(axes, names, name, points, [value(point) for point in points.values()])
            axes.set_title(title)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            _doubling_axis(axes, costs[0].by_length, "length" if axes in all_axes[-1] else "")
        axes_of_group[0].set_ylabel(label, fontweight="bold")
        axes_of_group[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return _save(figure, path)


def draw_recall(reaches: Sequence[Reach], path: Path, *, train_length: int) -> Path:
    """Accuracy against distance in the longest sequences, and against the number of pairs to remember.

    :param train_length: distances from this on, which training never showed, are shaded.
    """
    names = [reach.mechanism for reach in reaches]
    longest = max(reaches[0].by_length)
    panels = [
        (f"By distance, in sequences of {longest:,}", _by_score(names), "distance"),
        ("By distance, with other positions", _by_positions(names), "distance"),
        ("By pairs to remember, as trained", _by_score(names), "pairs"),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = _figure(
        4.6 * len(panels), 5.6, f"What two layers recall, trained on at most {train_length} tokens: % right"
    )
    for axes, (title, group, unit) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        keys: Iterable[int] = ()
        for name in group:
            reach = next(reach for reach in reaches if reach.mechanism == name)
            found: dict[int, Accuracy] = reach.by_distance[longest] if unit == "distance" else reach.by_pairs
            keys = sorted({*keys, *found})
            _line(axes, names, name, found, [100 * accuracy.share for accuracy in found.values()])
        axes.set_title(title)
        axes.set_ylim(-3, 104)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
        _doubling_axis(axes, keys, "tokens back" if unit == "distance" else "pairs in the sequence")
        if unit == "distance":
            axes.xaxis.set_major_formatter(FuncFormatter(lambda least, _: distance_range(int(least))))
            axes.tick_params(axis="x", labelsize=8, rotation=30)
            _shade_from(axes, train_length)
        axes.axhline(100 * CHANCE, color=_INK, linewidth=1, linestyle=":")
        axes.annotate("chance", (0.01, 100 * CHANCE + 1), xycoords=("axes fraction", "data"), fontsize=8, color=_INK)
    return _save(figure, path)


def _by_score(names: Sequence[str]) -> list[str]:
    """The scores with the positions of the first attention, and the references."""
    positions = next((name.partition("+")[2] for name in names if name not in REFERENCES), "")
    return [name for name in names if name in REFERENCES or name.partition("+")[2] == positions]


def _by_positions(names: Sequence[str]) -> list[str]:
    """The positions with the score of the first attention; nothing if there is but one."""
    score = next((name.partition("+")[0] for name in names if name not in REFERENCES), "")
    group = [name for name in names if name.partition("+")[0] == score]
    return group if len(group) > 1 else []


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold", color=_INK)
    return figure


def _line(axes: Axes, names: Sequence[str], name: str, keys: Iterable[int], values: list[float]) -> None:
    colour = _COLOURS.get(name, _OTHER_COLOURS[names.index(name) % len(_OTHER_COLOURS)])
    above = len(axes.lines)  # each line is thinner than those it may cover, which then show at its sides
    axes.plot(
        list(keys),
        values,
        label=name,
        color=colour,
        linewidth=max(1.2, 4.2 - 0.6 * above),
        marker=_MARKERS[names.index(name) % len(_MARKERS)],
        markersize=max(4.0, 8.5 - 0.9 * above),
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def _shade_from(axes: Axes, train_length: int) -> None:
    least, most = axes.get_xlim()
    if train_length < most:
        axes.axvspan(train_length / 2**0.5, most, color="#EEF1F5", zorder=0)
        axes.annotate("never seen in training", (train_length / 2**0.4, -1.5), fontsize=8, color=_INK, va="bottom")
        axes.set_xlim(least, most)


def _doubling_axis(axes: Axes, keys: Iterable[int], label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(keys), [f"{key:,}" for key in sorted(keys)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)
    axes.grid(color="#DDE1E6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, path: Path) -> Path:
    """As a PNG with a palette, a third as large as one with all colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DOTS_AN_INCH)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    return path
