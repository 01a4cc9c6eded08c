"""Scores stand in the run's log with their intervals, each baseline beside, and the layout names tags that exist."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from summarizer.evaluation.board import write_board
from summarizer.evaluation.cases import Case
from summarizer.evaluation.evaluator import Evaluation, evaluate
from summarizer.evaluation.rouge import ROUGE_TYPES
from summarizer.training.board import Board
from summarizer.training.gauge import Gauge
from summarizer.training.validation import Validation


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    cases = [Case(str(n), f"storm {n} hit. it rained. all slept.", (f"a storm {n}",)) for n in range(5)]
    return evaluate(lambda documents: ["the storm"] * 5, cases, resamples=20)


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_a_disk_that_refuses_is_told_without_a_traceback_of_the_thread_that_writes(
    tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As where the run belongs to somebody else."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(RecordWriter, "write", refuse)
    with pytest.raises(PermissionError):
        write_board(tmp_path, evaluation, split="test", step=70, samples=2)
    assert capfd.readouterr().err == ""


def test_scores_and_intervals_of_model_and_baselines_are_written(tmp_path: Path, evaluation: Evaluation) -> None:
    write_board(tmp_path, evaluation, split="test", step=70, samples=2)
    folders = {"": evaluation.model, **{f"/{name}": summary for name, summary in evaluation.baselines.items()}}
    assert len(folders) == 4
    for name, summary in folders.items():
        board = events(tmp_path / f"evaluation{name}")
        for rouge_type in ROUGE_TYPES:
            for suffix, value in zip(("", "_low", "_high"), summary[rouge_type].f1, strict=True):
                (point,) = board.Scalars(f"evaluation_test/{rouge_type}{suffix}")
                assert point.step == 70
                assert point.value == pytest.approx(value)
    board = events(tmp_path / "evaluation")
    assert board.Scalars("evaluation_test_traits/words")[0].value == 2
    assert {tag for tag in board.Tags()["tensors"] if "samples" in tag} == {
        "evaluation_test_samples/1/text_summary", "evaluation_test_samples/2/text_summary",
    }  # fmt: skip


def test_the_layout_shows_what_is_written(tmp_path: Path, evaluation: Evaluation) -> None:
    board = Board(tmp_path, start_step=0)
    metrics = {f"{owner}{kind}": 0.5 for owner in ("", "lead3/") for kind in ROUGE_TYPES}
    pointer = {"p_gen": 0.5, "copy_rate": 0.5, "coverage": 1.0}
    board.validation(1, Validation({"loss": 1.0, "accuracy": 0.5, **metrics, **pointer}))
    averages = "loss nll accuracy learning_rate gradient_norm gradient_norm_max skipped_updates tokens_per_second"
    gauge = Gauge(torch.device("cpu"), peak=1.0).read(flops=1, seconds=1.0)
    board.train(1, dict.fromkeys([*averages.split(), "real_token_share", "data_wait_share", *gauge, *pointer], 1.0))
    board.close()
    for split in ("test", "validation"):
        write_board(tmp_path, evaluation, split=split, step=1, samples=0)

    log = events(tmp_path)
    written = {*log.Tags()["scalars"], *events(tmp_path / "evaluation").Tags()["scalars"]}
    (event,) = log.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    patterns = [
        pattern
        for category in layout.category
        for chart in category.chart
        for pattern in [
            *chart.multiline.tag,
            *(s for each in chart.margin.series for s in (each.value, each.lower, each.upper)),
        ]
    ]
    assert len(patterns) > 20
    assert max(len(chart.title) for category in layout.category for chart in category.chart) <= 48, "it takes two lines"
    for pattern in patterns:
        assert any(re.match(pattern, tag) for tag in written), f"no curve fits {pattern}"
