"""Outcomes in; a table for people and a JSON file out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from summarizer.benchmark.contest import Outcome, Performance
from summarizer.tables import markdown_table


def tables(outcomes: Sequence[Outcome], setup: str, peaks: dict[str, float]) -> str:
    """Markdown that reads well on a terminal, too.

    :param peaks: operations a second of the largest matrix products, before and after the contests.
    """
    parts = [setup, *(_table(outcome, max(peaks.values(), default=0.0)) for outcome in outcomes)]
    return "\n\n".join(parts)


def write(path: Path, outcomes: Sequence[Outcome], setup: str, peaks: dict[str, float]) -> None:
    """All that was measured, every round of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"setup": setup, "matmul_peaks": peaks, "outcomes": [asdict(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _table(outcome: Outcome, peak: float) -> str:
    with_memory = outcome.performances[0].peak_bytes is not None
    head = ["", f"{outcome.unit}/s", "first is", "seconds"]
    if with_memory:
        head += ["peak MiB", "first needs"]
    if outcome.flops and peak:
        head.append("of matmul peak")
    rows = [head]
    for performance in outcome.performances:
        rows.append(_row(outcome, performance, peak, with_memory))
    notes = [f"{each.name}: {each.note}" for each in outcome.performances if each.note]
    return "\n\n".join([f"{outcome.title}:", markdown_table(rows), *notes])


def _row(outcome: Outcome, performance: Performance, peak: float, with_memory: bool) -> list[str]:
    ours = outcome.performances[0]
    is_ours = performance is ours
    low, high = min(performance.seconds), max(performance.seconds)
    row = [
        performance.name,
        f"{performance.rate:,.0f}" if performance.rate >= 100 else f"{performance.rate:.3g}",
        "" if is_ours else f"{performance.ours_is_faster:.2f}x",
        f"{low:.2f} to {high:.2f}",
    ]
    if with_memory:
        assert performance.peak_bytes is not None
        assert ours.peak_bytes is not None
        row += [
            f"{performance.peak_bytes / 2**20:,.0f}",
            "" if is_ours else f"{ours.peak_bytes / performance.peak_bytes:.2f}x",
        ]
    if outcome.flops and peak:
        row.append(f"{outcome.flops / outcome.amount * performance.rate / peak:.0%}")
    return row
