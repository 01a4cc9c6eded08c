"""The curves of a run are read back, whatever state their file is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from summarizer.commands.run_history import read_evaluations, read_history


def record(step: int, time: float, **kinds: Any) -> str:
    return json.dumps({"step": step, "time": time, **kinds}) + "\n"


def curves(*, pause: float) -> list[str]:
    """Two seconds a step; a validation of 30 s after step 20; a pause after step 40."""
    train = {"tokens_per_second": 500.0}
    return [
        record(10, 20, train=train),
        record(20, 40, train=train),
        record(20, 70, validation={"loss": 3.0, "accuracy": None}),
        record(30, 90, train=train),
        record(40, 110, train=train),
        record(50, 130 + pause, train=train),
        record(60, 150 + pause, train=train),
    ]


@pytest.mark.parametrize("pause", [0, 100_000])
def test_the_speed_is_that_of_training_without_validations_and_nights(tmp_path: Path, pause: float) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(curves(pause=pause)))
    history = read_history(path)
    assert history.seconds_per_step == 2
    assert history.seconds_per_validation == 30
    assert history.tokens_per_second == 500
    assert history.mfu is None, "earlier releases did not tell"
    assert (history.last_step, history.validation_step, history.validation) == (60, 20, {"loss": 3.0})
    assert history.damaged_lines == []


def test_the_share_of_the_machine_is_that_of_recent_training(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    values = [0.1] * 60 + [0.3] * 49 + [0.9]
    path.write_text("".join(record(n + 1, 2 * n, train={"mfu": value}) for n, value in enumerate(values)))
    assert read_history(path).mfu == 0.3


def test_half_a_last_line_is_what_a_kill_leaves_and_half_a_line_before_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = curves(pause=0)
    path.write_text("".join([*lines, lines[-1][:30]]))
    assert read_history(path).damaged_lines == []
    path.write_text("".join([lines[0], "\0\0\0\n", *lines[1:]]))
    history = read_history(path)
    assert history.damaged_lines == [2]
    assert history.last_step == 60


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "3",
        "{}",
        '{"step": "x", "time": 1}',
        '{"step": 1e999, "time": 1}',
        "[" * 100_000,
        "\udcff",
        '{"step": []}',
    ],
)
def test_no_line_stops_the_reader(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(f"{line}\n{record(7, 1.0, train=[3])}".encode(errors="surrogateescape"))
    history = read_history(path)
    assert history.damaged_lines == [1]
    assert history.last_step == 7


def test_a_run_without_curves_has_none(tmp_path: Path) -> None:
    history = read_history(tmp_path / "metrics.jsonl")
    assert (history.last_step, history.validation_step, history.seconds_per_step) == (0, None, None)


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"lead3": 3}', '{"examples": 1, "lead3": {}, "rouge1": {}}']
)
def test_a_damaged_evaluation_is_named_and_the_others_are_read(tmp_path: Path, content: str | None) -> None:
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    scores = {kind: {"f1": 0.25} for kind in kinds}
    for name in ("damaged", "whole"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole" / "metrics.json").write_text(json.dumps({**scores, "lead3": scores, "examples": 9}))
    if content is not None:
        (tmp_path / "damaged" / "metrics.json").write_text(content)
    damaged, whole = read_evaluations(tmp_path)
    assert damaged.fault is not None
    assert (whole.fault, whole.examples) == (None, 9)
    assert whole.scores == {f"{who}{kind}": 0.25 for who in ("", "lead3/") for kind in kinds}


@pytest.mark.parametrize("baseline", ["lead1", "lead3", None])
def test_an_evaluation_is_whole_whatever_extract_stands_beside_it(tmp_path: Path, baseline: str | None) -> None:
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    scores = {kind: {"f1": 0.25} for kind in kinds}
    (tmp_path / "test").mkdir()
    beside = {} if baseline is None else {baseline: scores}
    (tmp_path / "test" / "metrics.json").write_text(json.dumps({**scores, **beside, "examples": 9}))
    (evaluation,) = read_evaluations(tmp_path)
    assert evaluation.fault is None
    assert evaluation.scores.keys() == {f"{who}{kind}" for who in ("", *(f"{b}/" for b in beside)) for kind in kinds}


def test_a_sweep_is_its_finished_jobs_and_no_evaluation_without_numbers(tmp_path: Path) -> None:
    scores = {kind: {"f1": 0.25} for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")}
    for name in ("sweep-test/beam_size=1", "sweep-test/beam_size=2", "sweep-validation"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sweep-validation" / "multirun.yaml").touch()  # all that is there before the first job begins
    for number, content in ((1, {**scores, "lead3": scores, "examples": 9}), (2, None)):
        job = tmp_path / "sweep-test" / f"beam_size={number}"
        (job / "job.json").write_text("{}")
        if content is not None:
            (job / "metrics.json").write_text(json.dumps(content))
    (evaluation,) = read_evaluations(tmp_path)
    assert (evaluation.name, evaluation.fault, evaluation.examples) == ("sweep-test/beam_size=1", None, 9)
