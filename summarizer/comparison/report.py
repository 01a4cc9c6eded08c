"""Costs and reaches in; tables for people, results.json and plots in one folder out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from summarizer.comparison.cost import Cost
from summarizer.comparison.reach import Accuracy, Reach
from summarizer.comparison.recall import CHANCE, distance_range
from summarizer.tables import markdown_table


@dataclass(frozen=True)
class Comparison:
    """All results; mechanisms stand in the same order in both lists, and the first is the measure of the others."""

    costs: list[Cost]
    reaches: list[Reach]
    train_length: int  # longest sequence that the training showed
    setup: str  # for people: where and how it was measured

    def tables(self) -> str:
        """Markdown that reads well on a terminal, too."""
        parts = [self.setup, _cost_table(self.costs), _distance_table(self.reaches), _length_table(self.reaches)]
        return "\n\n".join(parts)

    def write(self, folder: Path) -> list[Path]:
        """results.json, tables.md and, if matplotlib is there, the plots. Returns the plots' paths."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        (folder / "tables.md").write_text(self.tables() + "\n", encoding="utf-8")
        if not can_plot():
            return []
        from summarizer.comparison.plots import draw_costs, draw_recall  # matplotlib is an optional dependency

        return [
            draw_costs(self.costs, folder / "cost.png"),
            draw_recall(self.reaches, folder / "recall.png", train_length=self.train_length),
        ]


def can_plot() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _cost_table(costs: Sequence[Cost]) -> str:
    length = max(costs[0].by_length)
    first = costs[0].by_length[length]
    rows = [["mechanism", "parameters", "MFLOP", "ms", "ratio", "MiB", "ratio"]]
    for cost in costs:
        point = cost.by_length[length]
        rows.append(
            [
                cost.mechanism,
                f"{cost.parameters:,}",
                f"{point.flops / 1e6:,.0f}",
                f"{point.seconds * 1e3:,.1f}",
                f"{point.seconds / first.seconds:.2f}",
                f"{point.peak_bytes / 2**20:,.1f}",
                f"{point.peak_bytes / first.peak_bytes:.2f}",
            ]
        )
    return f"Cost of one mixer, forward and backward, one sequence of {length:,}:\n\n{markdown_table(rows)}"


def _distance_table(reaches: Sequence[Reach]) -> str:
    length = max(reaches[0].by_distance)
    ranges = sorted({least for reach in reaches for least in reach.by_distance[length]})
    rows = [["mechanism", *(distance_range(least) for least in ranges)]]
    for reach in reaches:
        rows.append([reach.mechanism, *(_percent(reach.by_distance[length].get(least)) for least in ranges)])
    return f"% recalled by distance, sequences of {length:,} (chance {CHANCE:.0%}):\n\n{markdown_table(rows)}"


def _length_table(reaches: Sequence[Reach]) -> str:
    lengths, loads = reaches[0].by_length, reaches[0].by_pairs
    rows = [["mechanism", *(f"{length:,}" for length in lengths), *(f"{n} pair{'s' if n > 1 else ''}" for n in loads)]]
    for reach in reaches:
        accuracies = [*(reach.by_length[length] for length in lengths), *(reach.by_pairs[n] for n in loads)]
        rows.append([reach.mechanism, *map(_percent, accuracies)])
    return f"% recalled by length, and by number of pairs at the length of the training:\n\n{markdown_table(rows)}"


def _percent(accuracy: Accuracy | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy.share:.0f}"
