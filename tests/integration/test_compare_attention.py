"""scripts/compare_attention.py in small: tables, results and plots, or one line that says what cannot be compared."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytestmark = pytest.mark.slow  # everything is measured

if TYPE_CHECKING:
    from tests.integration.conftest import Command

QUICK = [
    "mechanisms=[scaled_dot+alibi,additive+rotary,scaled_dot+sinusoidal,convolution,lstm]",
    "width=16",
    "num_heads=2",
    "cost.lengths=[8,16]",
    "cost.repeats=1",
    "recall.steps=2",
    "recall.test_lengths=[32,48]",
    "recall.test_sequences=8",
    "runtime=cpu",
]


def test_all_is_measured_printed_and_written(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "out"
    outcome = command("compare_attention", *QUICK, f"output={output}")
    assert outcome.status == 0, outcome.err
    for name in ("scaled_dot+alibi", "additive+rotary", "scaled_dot+sinusoidal", "convolution", "lstm"):
        assert outcome.out.count(f"| {name} ") == 3
        assert f"{name} " in outcome.err
    assert outcome.out == (output / "tables.md").read_text()
    assert "fp32" in outcome.out
    assert len(json.loads((output / "results.json").read_text())["reaches"]) == 5
    assert str(output) in outcome.err
    if importlib.util.find_spec("matplotlib"):
        assert {path.name for path in output.iterdir()} == {"cost.png", "recall.png", "results.json", "tables.md"}
        assert "recall.png" in outcome.err


def test_without_matplotlib_one_line_says_how_to_get_plots(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find_spec(name)
    )
    outcome = command("compare_attention", *QUICK, "mechanisms=[lstm]", f"output={tmp_path / 'out'}")
    assert outcome.status == 0, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if "pip install" in line]
    assert "need matplotlib" in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.json", "tables.md"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("mechanisms=[scaled_dot+alibi,gru]", ["mechanisms (gru)", "convolution, lstm", "scaled_dot, dot", "rotary"]),
        ("mechanisms=[]", ["mechanisms ([])", "try mechanisms="]),
        ("mechanisms=[lstm,lstm]", ["mechanisms (lstm)", "once"]),
        ("width=30", ["width (30)", "num_heads (4)", "try width=32"]),
        ("cost.lengths=[0]", ["cost.lengths (0)", "at least 1"]),
        ("recall.test_lengths=[5]", ["recall.test_lengths (5)", "at least 12"]),
        ("recall.stesp=1", ["recall.stesp", "did you mean steps?"]),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    override: str, words: list[str], command: Command, tmp_path: Path
) -> None:
    outcome = command("compare_attention", override, f"output={tmp_path / 'out'}")
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused_and_kept(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    outcome = command("compare_attention", f"output={file}")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"output ({file})" in outcome.err
    assert file.read_text() == "mine"
