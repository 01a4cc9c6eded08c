"""scripts/benchmark.py in small: a table, a file with every timing, or one line that says what cannot be timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Command

pytestmark = pytest.mark.slow  # each of them trains, decodes or encodes for a while

QUICK = [
    "model=tiny",
    "vocab_size=50",
    "repeats=1",
    "model.width=16",
    "train.batches=1",
    "train.max_source_tokens=16",
    "train.max_target_tokens=8",
    "runtime=cpu",
    "runtime.precision=fp32",
]


def test_training_is_timed_printed_and_written(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    outcome = command("benchmark", *QUICK, f"output={file}")
    assert outcome.status == 0, outcome.err
    assert "| summarizer " in outcome.out
    assert "| torch.nn.Transformer " in outcome.out
    (held,) = json.loads(file.read_text())["outcomes"]
    assert {len(each["seconds"]) for each in held["performances"]} == {1}
    assert str(file) in outcome.err


def test_without_peers_the_project_is_timed_alone(command: Command, tmp_path: Path) -> None:
    arguments = ["what=decode", "decode.documents=2", "decode.source_tokens=8", "decode.new_tokens=3", "peers=false"]
    outcome = command("benchmark", *QUICK, *arguments, f"output={tmp_path / 'out.json'}")
    assert outcome.status == 0, outcome.err
    assert "3 new ones each" in outcome.out
    rows = [line for line in outcome.out.splitlines() if line.startswith("|")]
    assert [row.split()[1] for row in rows[2:]] == ["summarizer"]


def test_scoring_is_timed(command: Command, tmp_path: Path) -> None:
    arguments = ["what=rouge", "data.limit.test=20", "repeats=1", "processes=1", "runtime=cpu"]
    outcome = command("benchmark", *arguments, f"output={tmp_path / 'out.json'}")
    assert outcome.status == 0, outcome.err
    assert "ROUGE of 20 pairs" in outcome.out
    assert "| rouge-score " in outcome.out
    assert "GFLOP" not in outcome.out


def test_encoding_is_timed(command: Command, tmp_path: Path) -> None:
    arguments = ["what=data", "data.limit.train=50", "tokenizer.vocab_size=400", "repeats=1", "runtime=cpu"]
    arguments += ["peers=false", f"data.cache_dir={tmp_path}", f"output={tmp_path / 'out.json'}"]
    outcome = command("benchmark", *arguments)
    assert outcome.status == 0, outcome.err
    assert "Encoding 50 examples" in outcome.out
    assert not (tmp_path / "encoded").exists(), "a benchmark leaves no data set behind"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("repeats=0", ["repeats (0)", "at least 1"]),
        ("processes=0", ["processes (0)", "at least 1"]),
        ("train.batches=0", ["train.batches (0)"]),
        ("train.max_source_tokens=1", ["train.max_source_tokens (1)"]),
        ("vocab_size=3", ["vocab_size (3)"]),
        ("what=nothing", ["what", "nothing"]),
        ("output=.", ["output (.)", "folder"]),
    ],
)
def test_what_cannot_be_timed_is_said_in_one_line(
    command: Command, tmp_path: Path, override: str, words: list[str]
) -> None:
    outcome = command("benchmark", *QUICK, f"output={tmp_path / 'out.json'}", override)
    assert outcome.status == 2
    assert len(outcome.err.strip().splitlines()) <= 2
    for word in words:
        assert word in outcome.err


def test_one_process_and_several_are_timed_in_turn(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    outcome = command("benchmark", *QUICK, "what=scaling", "train.batch_size=4", f"output={file}")
    assert outcome.status == 0, outcome.err
    scaling = json.loads(file.read_text())
    assert [(group["size"], group["strategy"]) for group in scaling["groups"]] == [(1, ""), (2, "ddp"), (2, "fsdp")]
    for group in scaling["groups"]:
        assert len(group["seconds"]) == len(group["exchanging"]) == 1
        assert 0 <= group["exchanging"][0] < group["seconds"][0]
    alone, together = scaling["groups"][0], scaling["groups"][1]
    assert together["exchanging"][0] > 10 * alone["exchanging"][0], "one process has nobody to wait for"
    (row,) = [line for line in outcome.out.splitlines() if line.startswith("| 2 processes, ddp")]
    speed_up = alone["seconds"][0] / together["seconds"][0]
    assert [cell.strip() for cell in row.split("|")][3:5] == [f"{speed_up:.2f}", f"{speed_up / 2:.0%}"]


@pytest.mark.parametrize("processes", [1, 9])
def test_more_processes_than_rows_or_one_alone_cannot_be_compared(processes: int, command: Command) -> None:
    outcome = command("benchmark", *QUICK, "what=scaling", f"processes={processes}")
    assert (outcome.status, f"processes ({processes}) must be at least 2 and at most" in outcome.err) == (2, True)
