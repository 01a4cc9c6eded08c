"""The table of a decoding sweep: by what was asked for last, differences in pairs, each lead once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from summarizer.commands.evaluate_sweep import EVALUATION_SWEEP, evaluation_table
from summarizer.commands.jobs import Job, Record, Result, Status, SweepTable
from summarizer.config import EvaluateConfig
from summarizer.errors import UserError
from summarizer.evaluation.bootstrap import f1_difference
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores, Score

Scores = Mapping[str, Sequence[float]]  # F1 of each example, by ROUGE type


def measured(f1: float) -> dict[str, float]:
    return {"f1": f1, "f1_low": f1 - 0.02, "f1_high": f1 + 0.04}


def metrics(scores: Scores, lead: float = 0.3, tokens_per_second: float | None = 1234.5) -> dict[str, Any]:
    return {
        **{name: measured(sum(scores[name]) / len(scores[name])) for name in ROUGE_TYPES},
        "lead3": {name: measured(lead) for name in ROUGE_TYPES},
        "words": 12.34, "tokens_per_second": tokens_per_second, "seconds": 5.678, "resamples": 50, "seed": 3,
    }  # fmt: skip


def as_pairs(scores: Scores) -> list[PairScores]:
    return [
        {name: Score(0.0, 0.0, f1) for name, f1 in zip(scores, row, strict=True)}
        for row in zip(*scores.values(), strict=True)
    ]


def finished(
    folder: Path,
    scores: Scores,
    *,
    asked_for: str = "rougeLsum",
    time: float = 1.0,
    references: str = "same",
    **more: Any,
) -> Job:
    """A job as it lies in its folder."""
    folder.mkdir(parents=True)
    rows = [
        {"id": str(number), "reference": references, "scores": {name: one._asdict() for name, one in pair.items()}}
        for number, pair in enumerate(as_pairs(scores))
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = metrics(scores, **more)
    result = Result(asked_for, found[asked_for]["f1"], False, found)
    return Job(folder, Record([folder.name], Status.finished, result=result, time=time))


def cells(table: SweepTable) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def all_types(rouge1: Sequence[float], others: Sequence[float]) -> dict[str, Sequence[float]]:
    return {name: rouge1 if name == "rouge1" else others for name in ROUGE_TYPES}


GOOD_AT_WORDS = all_types([0.9, 0.7, 0.8], [0.1, 0.2, 0.3])
GOOD_AT_ORDER = all_types([0.5, 0.4, 0.6], [0.3, 0.5, 0.1])


@pytest.mark.parametrize(("objective", "best"), [("rouge1", "words"), ("rougeL", "order")])
def test_all_jobs_are_compared_by_what_was_asked_for_last(objective: str, best: str, tmp_path: Path) -> None:
    """One was found by an earlier sweep of this folder, which compared by something else."""
    jobs = [
        finished(tmp_path / "words", GOOD_AT_WORDS, asked_for=objective, time=2.0),
        finished(tmp_path / "order", GOOD_AT_ORDER, asked_for="rouge2", time=1.0),
    ]
    table = evaluation_table(tmp_path, jobs)
    assert (table.data["objective"], table.data["best"]) == (objective, best)
    assert table.data["jobs"][0]["name"] == best
    for job in table.data["jobs"]:
        assert job["value"] == job["metrics"][objective]["f1"]
    assert cells(table)[best][-2:] == ["best", "-"]


def test_what_was_found_before_is_told_as_it_is_asked_for_now() -> None:
    earlier = Result("rougeLsum", 0.2, False, metrics(GOOD_AT_WORDS))
    found = EVALUATION_SWEEP.told_again(EvaluateConfig(objective="rouge1"), earlier)
    assert (found.objective, found.value) == ("rouge1", pytest.approx(0.8))
    assert found.metrics == earlier.metrics


def test_each_row_has_the_scores_the_difference_from_the_best_and_its_p(tmp_path: Path) -> None:
    jobs = [finished(tmp_path / "words", GOOD_AT_WORDS), finished(tmp_path / "order", GOOD_AT_ORDER)]
    table = evaluation_table(tmp_path, jobs)
    difference = f1_difference(as_pairs(GOOD_AT_WORDS), as_pairs(GOOD_AT_ORDER), seed=3, resamples=50)["rougeLsum"]
    best, other = table.data["jobs"]
    assert (best["name"], best["difference"]) == ("order", None)
    assert other["difference"] == difference._asdict()
    row = cells(table)["words"]
    assert row[:4] == ["80.00 ± 3.00", "20.00 ± 3.00", "20.00 ± 3.00", "20.00 ± 3.00"], "F1 and half of the interval"
    assert row[4:] == ["12.3", "1,234", "5.7", "-10.00", f"{difference.p:.2f}"]
    (command,) = table.next_commands
    assert f"evaluate.py 'compare=[{tmp_path / 'order'},{tmp_path / 'words'}]'" in command


@pytest.mark.parametrize("harm", ["other references", "fewer examples", "no file", "a broken line"])
def test_other_examples_are_not_compared(harm: str, tmp_path: Path) -> None:
    best = finished(tmp_path / "best", GOOD_AT_ORDER)
    other = finished(tmp_path / "other", GOOD_AT_WORDS, references="other" if harm == "other references" else "same")
    file = other.folder / "predictions.jsonl"
    if harm == "fewer examples":
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    elif harm == "no file":
        file.unlink()
    elif harm == "a broken line":
        file.write_text('{"id": 1}\n')
    table = evaluation_table(tmp_path, [best, other])
    assert [job["difference"] for job in table.data["jobs"]] == [None, None]
    assert cells(table)["other"][-2:] == ["-", "-"]


def test_lead_stands_there_once_for_each_set_of_examples(tmp_path: Path) -> None:
    jobs = [finished(tmp_path / name, GOOD_AT_WORDS, lead=0.3) for name in ("a", "b")]
    rows = cells(evaluation_table(tmp_path, jobs))
    assert [name for name in rows if name.startswith("lead")] == ["lead-3"]
    assert rows["lead-3"] == ["30.00 ± 3.00"] * 4 + ["-"] * 5
    rows = cells(evaluation_table(tmp_path, [*jobs, finished(tmp_path / "c", GOOD_AT_ORDER, lead=0.4)]))
    assert [name for name in rows if name.startswith("lead")] == ["lead-3 of c", "lead-3 of a"]


def test_what_is_not_finished_stands_below_and_says_why(tmp_path: Path) -> None:
    failed = Job(tmp_path / "f", Record(["x=1"], Status.failed, reason="x (1) must be 2"))
    open_job = Job(tmp_path / "o", Record(["x=2"], Status.unfinished))
    table = evaluation_table(tmp_path, [failed, open_job])
    assert (table.data["best"], table.next_commands) == (None, [])
    assert cells(table)["f"] == ["-"] * 7 + ["failed", "-"]
    table = evaluation_table(
        tmp_path, [failed, open_job, finished(tmp_path / "d", GOOD_AT_WORDS, tokens_per_second=None)]
    )
    assert [job["name"] for job in table.data["jobs"]] == ["d", "o", "f"]
    assert table.text.startswith(f"1 of 3 jobs in {tmp_path} finished; best first by ROUGE-Lsum")
    below = ["failed: f: x (1) must be 2", "unfinished: o: the same command scores it"]
    assert re.findall(r"\n((?:un)?\w+ed: .*)", table.text) == below
    assert cells(table)["d"][5] == "-", "nobody knows how fast these were written"
    assert [job["reason"] for job in table.data["jobs"]] == [None, None, "x (1) must be 2"]
    assert table.next_commands == [], "there are no two to compare"


def test_an_evaluation_is_another_one_if_a_text_or_a_setting_is(tmp_path: Path) -> None:
    predictions, references = tmp_path / "predictions.jsonl", tmp_path / "references.jsonl"
    predictions.write_text("one")
    references.write_text("two")

    def settings(**changes: Any) -> dict[str, Any]:
        files = {"predictions": str(predictions), "references": str(references)}
        return EVALUATION_SWEEP.settings_of(EvaluateConfig(**{**files, **changes}))

    before = settings()
    assert before == settings(output="elsewhere", objective="rouge1", samples=9, report=False, tensorboard=False)
    assert before != settings(resamples=7)
    for file in (predictions, references):
        found = settings()
        file.write_text(f"other {file.read_text()}")
        assert settings() != found, file
    with pytest.raises(UserError, match="no --multirun can make more of it"):
        EVALUATION_SWEEP.settings_of(EvaluateConfig(compare=["a", "b"]))


@pytest.mark.parametrize("missing", ["metrics.json", "predictions.jsonl", None])
def test_a_finished_job_is_there_while_both_of_its_files_are(missing: str | None, tmp_path: Path) -> None:
    for name in {"metrics.json", "predictions.jsonl"} - {missing}:
        (tmp_path / name).touch()
    assert EVALUATION_SWEEP.is_there(tmp_path) is (missing is None)


def test_texts_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    """For Python's splitlines each of these ends a line, and for JSON none does."""
    jobs = [
        finished(tmp_path / "order", GOOD_AT_ORDER, references="one\u2028two\x85three\x0cfour\u2029five"),
        finished(tmp_path / "words", GOOD_AT_WORDS, references="one\u2028two\x85three\x0cfour\u2029five"),
    ]
    for job in jobs:  # as an evaluation writes it
        file = job.folder / "predictions.jsonl"
        rows = [json.loads(line) for line in file.read_text().split("\n") if line]
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert evaluation_table(tmp_path, jobs).data["jobs"][1]["difference"] is not None
