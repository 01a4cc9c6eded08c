"""Tables say what was measured; plots are drawn where matplotlib is, and not missed where it is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from summarizer.comparison.cost import Cost, CostPoint
from summarizer.comparison.reach import Accuracy, Reach
from summarizer.comparison.report import Comparison


def comparison(*names: str) -> Comparison:
    """Each mechanism twice as costly as the one before, and twice as forgetful."""
    costs = [
        Cost(name, 1000 + n, {8: CostPoint(10**6, 1.0, 2**20), 16: CostPoint(10**7, 0.5 * 2**n, 2**21 * 2**n)})
        for n, name in enumerate(names)
    ]
    reaches = [
        Reach(
            mechanism=name,
            by_length={8: Accuracy(1.0, 10), 64: Accuracy(0.5**n, 10)},
            by_distance={8: {1: Accuracy(1.0, 10)}, 64: {1: Accuracy(0.5**n, 10), 4: Accuracy(0.25**n, 10)}},
            by_pairs={1: Accuracy(1.0, 5), 2: Accuracy(0.8, 10)},
            loss=0.1,
            train_seconds=1.0,
        )
        for n, name in enumerate(names)
    ]
    return Comparison(costs, reaches, train_length=8, setup="on paper")


def cells(tables: str, name: str) -> list[list[str]]:
    """The row of ``name`` in each table."""
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in tables.splitlines() if name in line]


def test_the_tables_show_the_longest_length_beside_the_first_mechanism() -> None:
    tables = comparison("scaled_dot+alibi", "lstm").tables()
    assert cells(tables, "lstm") == [
        ["1,001", "10", "1,000.0", "2.00", "4.0", "2.00"],
        ["50", "25"],
        ["100", "50", "100", "80"],
    ]
    assert cells(tables, "scaled_dot")[0] == ["1,000", "10", "500.0", "1.00", "2.0", "1.00"]
    assert "one sequence of 16" in tables
    assert "sequences of 64" in tables
    assert "| 4-7 |" in tables
    assert "on paper" in tables


def test_the_columns_of_each_table_line_up() -> None:
    blocks = [block for block in comparison("scaled_dot+alibi", "lstm").tables().split("\n\n") if block[0] == "|"]
    assert len(blocks) == 3
    for block in blocks:
        assert len({len(line) for line in block.splitlines()}) == 1


def test_the_results_are_written_in_full(tmp_path: Path) -> None:
    result = comparison("lstm")
    result.write(tmp_path / "new" / "folder")
    written = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert written["costs"][0]["by_length"]["16"] == {"flops": 10**7, "seconds": 0.5, "peak_bytes": 2**21}
    assert written["reaches"][0]["by_distance"]["64"]["4"] == {"share": 1.0, "questions": 10}
    assert (tmp_path / "new" / "folder" / "tables.md").read_text() == result.tables() + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["scaled_dot+alibi", "scaled_dot+rotary", "additive+alibi", "convolution", "lstm"],
        ["lstm"],
        ["lstm", "dot+none"],
        ["general+none", "general+rotary"],
    ],
    ids=len,
)
def test_plots_are_drawn_whatever_is_compared(names: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots = comparison(*names).write(tmp_path)
    assert [plot.name for plot in plots] == ["cost.png", "recall.png"]
    for plot in plots:
        with Image.open(plot) as picture:
            assert len(picture.convert("RGB").getcolors(2**24)) > 20


def test_without_matplotlib_there_are_tables_and_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert comparison("lstm").write(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "tables.md"]
