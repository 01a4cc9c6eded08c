"""Anybody's predictions are scored and compared without a model, and what does not fit is told in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytestmark = pytest.mark.slow  # a model is trained, and commands are run

if TYPE_CHECKING:
    from conftest import Command, TrainedRun

ROWS = [
    {"id": str(n), "document": f"{name} left. It rained. {name} won {n} games.", "reference": f"{name} won {n} games."}
    for n, name in enumerate(["Anna", "Bert", "Carl", "Dora"])
]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path / "good.jsonl", [{**row, "prediction": row["reference"]} for row in ROWS])


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return written(tmp_path / "bad.jsonl", [{**row, "prediction": "It rained."} for row in ROWS])


def test_predictions_are_scored_without_a_model(command: Command, good: Path) -> None:
    outcome = command("evaluate", f"predictions={good}", "resamples=50", "samples=1", "baseline_sentences=2")
    assert outcome.status == 0, outcome.err
    for words in (
        "100.00",
        "lead-2",
        "random-2",
        "oracle-2",
        "novel 2-grams",
        "coverage",
        "numbers the document lacks",
    ):
        assert words in outcome.out
    metrics = json.loads((good.parent / "good_evaluation" / "metrics.json").read_text())
    assert metrics["rouge1"]["f1"] == 1.0
    assert metrics["traits"]["unsupported_numbers"] == 0.0
    report = good.parent / "good_evaluation" / "report.html"
    assert report.is_file()
    assert command("evaluate", f"predictions={good}", "resamples=5", "samples=0", "report=false").status == 0
    assert not report.exists(), "of other numbers than those beside it"


def test_predictions_find_their_references_in_another_file_by_id(command: Command, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.jsonl", [{"id": row["id"], "summary": row["reference"]} for row in ROWS[::-1]])
    several = [{"id": row["id"], "references": ["nothing", row["reference"]]} for row in ROWS]
    references = written(tmp_path / "references.jsonl", several)
    output = tmp_path / "scores"
    outcome = command("evaluate", f"predictions={mine}", f"references={references}", f"output={output}", "resamples=50")
    assert outcome.status == 0, outcome.err
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["rouge2"]["f1"] == 1.0
    assert "up to 2 references" in metrics["protocol"]


def test_predictions_may_be_of_the_split_of_a_run(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    mine = written(tmp_path / "mine.jsonl", [{"prediction": "Six jurors."}, {"prediction": "Rain."}])
    outcome = command("evaluate", f"predictions={mine}", f"run={smoke.folder}", "limit=2", "resamples=50")
    assert outcome.status == 0, outcome.err
    assert "lead-3" in outcome.out
    refused = command("evaluate", f"predictions={mine}", f"run={smoke.folder}", "limit=3", "resamples=50")
    refused.assert_refused("are 2 and must be 3")


def test_two_files_are_compared(command: Command, good: Path, bad: Path, tmp_path: Path) -> None:
    outcome = command("evaluate", f"compare=[{good},{bad}]", "resamples=100", f"output={tmp_path / 'out'}")
    assert outcome.status == 0, outcome.err
    assert "first less second" in outcome.out
    assert "+" in outcome.out
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["compared"] == [str(good), str(bad)]
    assert content["rouge1"]["difference"] > 0.5


def test_two_evaluations_of_runs_are_compared(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    refused = command("evaluate", f"compare=[{smoke.folder},{smoke.folder}]", "split=validation")
    refused.assert_refused("holds no predictions of the validation split yet: first")
    folders = [tmp_path / name for name in ("greedy", "beam")]
    for folder, decoding in zip(folders, ("greedy", "beam"), strict=True):
        arguments = [f"run={smoke.folder}", f"decoding={decoding}", "limit=3", f"output={folder}", "resamples=20"]
        assert command("evaluate", *arguments).status == 0
    outcome = command("evaluate", f"compare=[{folders[0]},{folders[1]}]", "resamples=20")
    assert outcome.status == 0, outcome.err
    assert "the same 3 examples" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run is missing: add run=<folder>, predictions=<file> or compare="),
        (["predictions={good}", "language=xx"], "language (xx) must be a two-letter code"),
        (["predictions={absent}"], "absent.jsonl cannot be read"),
        (["predictions={empty}"], "empty.jsonl:1 is an empty prediction"),
        (["predictions={unreferenced}"], "unreferenced.jsonl:1 has no reference beside its prediction"),
        (["predictions={good}", "references={fewer}"], "do not match references"),
        (["predictions={good}", "processes=0"], "processes (0) must be at least 1"),
        (["compare=[{good}]"], "compare must name two"),
        (["compare=[{good},{fewer}]"], "good.jsonl has 4, "),
        (["compare=[{good},{other}]"], "id 0 of "),
        (["compare=[{good},{absent}]"], "is no run folder, evaluation folder or file of predictions"),
        (["compare=[{good},{good}]", "predictions={good}"], "are both given: leave one out"),
        (["run=somewhere", "references={good}"], "belong to predictions"),
        (["predictions={good}", "decoding.beam_size=2"], "decoding.beam_size (2) is how a run writes"),
        (["compare=[{good},{good}]", "decoding=greedy"], "decoding.method (beam) is how a run writes"),
        (["predictions={good}", "checkpoint=last"], "checkpoint (last) is how a run writes"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    command: Command, good: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    files = {
        "good": good,
        "absent": tmp_path / "absent.jsonl",
        "empty": written(tmp_path / "empty.jsonl", [{**ROWS[0], "prediction": ""}]),
        "unreferenced": written(tmp_path / "unreferenced.jsonl", [{"prediction": "x"}]),
        "fewer": written(tmp_path / "fewer.jsonl", [{**row, "prediction": "x"} for row in ROWS[:3]]),
    }
    files["other"] = written(tmp_path / "other.jsonl", [{**row, "reference": "x", "prediction": "x"} for row in ROWS])
    outcome = command("evaluate", *(argument.format(**files) for argument in arguments))
    outcome.assert_refused(message)


def test_empty_predictions_score_zero_if_they_may(command: Command, tmp_path: Path) -> None:
    file = written(tmp_path / "empty.jsonl", [{**row, "prediction": ""} for row in ROWS])
    outcome = command("evaluate", f"predictions={file}", "empty_predictions=true", "resamples=20")
    assert outcome.status == 0, outcome.err
    metrics = json.loads((tmp_path / "empty_evaluation" / "metrics.json").read_text())
    assert metrics["rouge1"]["f1"] == 0.0


def test_the_language_is_that_of_the_run_unless_another_is_given(
    command: Command, tmp_path: Path, smoke: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(smoke.folder, run)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("language: en", "language: ru"), encoding="utf-8")
    mine = written(tmp_path / "mine.jsonl", [{"prediction": "Дождь."}])
    for arguments, words in (([], "Unicode tokenizer for ru"), (["language=en"], "a-z and 0-9 only")):
        outcome = command("evaluate", f"predictions={mine}", f"run={run}", "limit=1", "resamples=5", *arguments)
        assert outcome.status == 0, outcome.err
        assert words in json.loads((tmp_path / "mine_evaluation" / "metrics.json").read_text())["protocol"]
    searched_by: list[str] = []
    monkeypatch.setattr("summarizer.inference.rouge_utility", searched_by.append)
    quick = [f"output={tmp_path / 'out'}", "tensorboard=false", "limit=1", "resamples=5", "decoding=greedy"]
    for arguments in ([], ["language=vi"]):
        outcome = command("evaluate", f"run={smoke.folder}", *quick, *arguments)
        assert outcome.status == 0, outcome.err
    assert searched_by == ["en", "vi"], "minimum Bayes risk decoding compares samples by the words of the texts"


def test_evaluations_of_data_with_repeated_ids_are_compared(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    """And that a run's own limit left rows out is told, for the data may be others."""
    rows = [{**row, "id": "same", "summary": row["reference"]} for row in [*ROWS, *ROWS, *ROWS]]
    data = written(tmp_path / "test.jsonl", rows)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, decoding in zip(folders, ("greedy", "beam"), strict=True):
        few = ["samples=0", "resamples=20", "tensorboard=false"]
        of_run = f"run={smoke.folder}"
        outcome = command("evaluate", of_run, f"data_path={data}", f"output={folder}", f"decoding={decoding}", *few)
        assert outcome.status == 0, outcome.err
        assert "8 examples of test (the first ones, by the run's data.limit.test; limit= takes more)" in outcome.err
    outcome = command("evaluate", f"compare=[{folders[0]},{folders[1]}]", "resamples=20")
    assert outcome.status == 0, outcome.err
    assert "the same 8 examples" in outcome.out
