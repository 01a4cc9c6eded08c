"""long_document=truncate|lead|split, as a user meets it: what is told, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from summarizer import Summarizer
from summarizer.config import DecodingOverrides
from summarizer.tokenizer import Tokenizer

pytestmark = pytest.mark.slow  # a model is trained, and commands are run

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

SHORT = "The harbour of Seleby reported heavy fog on Monday."
LONG = " ".join(f"Officials warned {count} fishermen of the harbour to stay ashore." for count in range(40))
GREEDY = DecodingOverrides(beam_size=1, max_tokens=8)
FEW = ("decoding=greedy", "decoding.max_tokens=8")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": i, "document": text}) + "\n" for i, text in enumerate([SHORT, LONG])))
    return file


def test_what_is_not_read_is_told_once_and_written_beside_each_summary(
    command: Command, texts: Path, tmp_path: Path, smoke: TrainedRun
) -> None:
    total = len(Tokenizer.load(smoke.folder / "tokenizer.model").encode(LONG))
    size = Summarizer.from_run(smoke.folder).generator.max_source_tokens - 1
    shares = {}
    for way in ("truncate", "lead", "split"):
        output = tmp_path / f"{way}.jsonl"
        arguments = (f"run={smoke.folder}", f"input={texts}", f"output={output}", f"long_document={way}", *FEW)
        outcome = command("generate", *arguments)
        assert outcome.status == 0, outcome.err
        assert outcome.err.count("warning") == (way == "truncate")
        assert outcome.err.count("of 2 texts, for 1 are longer than") == (way == "truncate")
        assert outcome.err.count(" of 2 texts") == 1
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert rows[0]["share_read"] == 1.0
        shares[way] = rows[1]["share_read"]
        assert ("parts" in rows[0]) == (way == "split")
        if way == "split":
            assert rows[0]["parts"] == 1 < rows[1]["parts"]
    assert shares["truncate"] == pytest.approx(size / total, abs=1e-4)
    assert 0 < shares["lead"] <= shares["truncate"]
    assert shares["split"] == 1.0


def test_one_text_has_a_line_of_its_own(command: Command, smoke: TrainedRun) -> None:
    outcome = command("generate", f"run={smoke.folder}", f"text={LONG}", "long_document=split", *FEW)
    assert outcome.status == 0, outcome.err
    assert "text: read all " in outcome.err
    assert " parts" in outcome.err
    assert "warning" not in outcome.err
    (expected,) = Summarizer.from_run(smoke.folder).with_decoding(GREEDY).summarize([LONG], long_document="split")
    assert outcome.out == expected + "\n"


def test_from_python_a_loss_is_warned_of(caplog: pytest.LogCaptureFixture, smoke: TrainedRun) -> None:
    summarizer = Summarizer.from_run(smoke.folder).with_decoding(GREEDY)
    with caplog.at_level("WARNING", logger="summarizer"):
        summarizer.summarize([SHORT, LONG])
        assert len(caplog.records) == 1
        summarizer.summarize([SHORT])
        summarizer.summarize([LONG], long_document="split")
        assert len(caplog.records) == 1


def test_an_evaluation_records_how_it_read(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    data = tmp_path / "test.jsonl"
    rows = [{"id": str(i), "document": text, "summary": SHORT} for i, text in enumerate([SHORT + " Fog.", LONG])]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "scores"
    arguments = (f"run={smoke.folder}", f"data_path={data}", f"output={output}", "resamples=20", *FEW)
    outcome = command("evaluate", *arguments, "long_document=split")
    assert outcome.status == 0, outcome.err
    assert "share of the document read 100.0%" in " ".join(outcome.out.split())
    metrics = json.loads((output / "metrics.json").read_text())
    assert (metrics["long_document"], metrics["documents_cut"], metrics["traits"]["share_read"]) == ("split", 0, 1.0)
    assert "split: read all" in (output / "report.html").read_text()
    assert [json.loads(line)["share_read"] for line in (output / "predictions.jsonl").open()] == [1.0, 1.0]
    outcome = command("evaluate", *arguments)
    assert "of 2 texts, for 1 are longer than" in outcome.err
    metrics = json.loads((output / "metrics.json").read_text())
    assert (metrics["long_document"], metrics["documents_cut"]) == ("truncate", 1)
    assert 0.5 < metrics["traits"]["share_read"] < 1.0


def test_what_makes_no_sense_is_refused_in_one_line(command: Command, texts: Path, smoke: TrainedRun) -> None:
    run = f"run={smoke.folder}"
    for script, arguments, words in (
        ("generate", (run, "text=a", "long_document=half"), "expected one of [truncate, lead, split]"),
        ("generate", (run, "text=a", "long_document=split", "attention=a.html"), "use truncate or lead"),
        ("evaluate", (f"predictions={texts}", "long_document=split"), "is how a run reads"),
        ("evaluate", (f"compare=[{texts},{texts}]", "long_document=lead"), "is how a run reads"),
    ):
        outcome = command(script, *arguments)
        assert (outcome.status, len(outcome.errors)) == (2, 1), outcome.err
        assert words in outcome.err
