"""What a run reports of itself: metrics.jsonl and TensorBoard say the same, once, and never stop a run."""

from __future__ import annotations

import html
import io
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html
from tensorboard.summary.writer import event_file_writer

from summarizer.training.board import as_markdown
from summarizer.training.gauge import Gauge
from summarizer.training.progress import Progress
from summarizer.training.reporting import Reporter, Sample, Validation
from summarizer.training.step import StepReport
from summarizer.training.window import Stopwatch, Window

# TensorBoard's writer thread dies of a full disk, as it should, and pytest would tell at any later time.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

VALIDATION = Validation(
    {"loss": 3.0, "perplexity": 20.1, "rouge1": 0.312, "lead3/rouge1": 0.24},
    [Sample("a", "A long story.", "Short.", "Shorter.")],
    {"cross_attention": np.zeros((4, 6, 3), dtype=np.uint8)},
)


@pytest.fixture(autouse=True)
def ordered_event_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one second TensorBoard reads a process's files by number as text: 9 after 10, but 109 before 110."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))


def report(step: int, **changes: Any) -> StepReport:
    values = {
        "loss": float(step),
        "nll": step / 2,
        "accuracy": 0.5,
        "learning_rate": step / 100,
        "gradient_norm": 1.0,
        "target_tokens": 10,
        "real_tokens": 30,
        "positions": 40,
        "flops": 1000,
        "skipped": False,
    }
    return StepReport(**{"step": step, **values, **changes})


def train(run_dir: Path, first: int, last: int, *, max_steps: int = 100) -> None:
    with Reporter(run_dir, max_steps=max_steps, start_step=first - 1, log_every=2) as reporter:
        for step in range(first, last + 1):
            reporter.step(report(step))
            if step % 4 == 0:
                reporter.validation(step, VALIDATION)


def records(run_dir: Path, kind: str) -> dict[int, dict[str, float | None]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    chosen = [line for line in lines if kind in line]
    steps = [line["step"] for line in chosen]
    assert steps == sorted(set(steps)), "a step was reported twice, or out of order"
    return {line["step"]: line[kind] for line in chosen}


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def curve(folder: Path, tag: str) -> dict[int, float]:
    points = events(folder).Scalars(tag)
    assert len({point.step for point in points}) == len(points), "a step was reported twice"
    return {point.step: pytest.approx(point.value) for point in points}


def test_means_do_not_depend_on_how_tokens_were_split_into_updates() -> None:
    window = Window()
    window.add(report(1, loss=4.0, nll=3.0, accuracy=0.1, target_tokens=30, gradient_norm=1.0))
    window.add(report(2, loss=2.0, nll=1.0, accuracy=0.5, target_tokens=10, gradient_norm=3.0, positions=20))
    averages = window.averages(seconds=2.0)
    assert averages["loss"] == window.loss == 3.5
    assert averages["nll"] == 2.5
    assert averages["accuracy"] == pytest.approx(0.2)
    assert (averages["gradient_norm"], averages["gradient_norm_max"]) == (2.0, 3.0)
    assert averages["tokens_per_second"] == 30
    assert averages["real_token_share"] == 1.0
    assert averages["learning_rate"] == 0.02


def test_the_time_spent_waiting_for_data_is_a_share_of_each_window(tmp_path: Path) -> None:
    now = [0.0]

    def after(seconds: float) -> None:
        now[0] += seconds

    with Reporter(tmp_path, max_steps=9, start_step=0, log_every=1) as reporter:
        reporter._stopwatch = Stopwatch(lambda: now[0])
        for step, waited in ((1, 1.0), (2, 3.0)):
            with reporter.waiting():
                after(waited)
            after(4.0 - waited)
            reporter.step(report(step))
            with reporter.paused():  # which is no time of the training's
                after(100.0)
    shares = {step: record["data_wait_share"] for step, record in records(tmp_path, "train").items()}
    assert shares == {1: pytest.approx(1 / 4), 2: pytest.approx(3 / 4)}


def test_the_operations_of_each_window_and_of_the_whole_are_measured_by_what_the_machine_can_do(tmp_path: Path) -> None:
    now = [0.0]
    gauge = Gauge(torch.device("cpu"), peak=1e12)
    with Reporter(tmp_path, max_steps=9, start_step=0, log_every=2, gauge=gauge) as reporter:
        reporter._stopwatch = Stopwatch(lambda: now[0])
        for step, seconds in ((1, 1.0), (2, 3.0), (3, 1.0)):
            now[0] += seconds
            reporter.step(report(step, flops=10**12))
            with reporter.paused():
                now[0] += 100.0
    windows = records(tmp_path, "train")
    assert {step: record["mfu"] for step, record in windows.items()} == {2: pytest.approx(2 / 4), 3: pytest.approx(1)}
    assert windows[2]["tflops_per_second"] == pytest.approx(0.5)
    assert 0.01 < windows[2]["peak_memory_gib"] < 1000
    assert curve(tmp_path / "tensorboard", "train/mfu") == {2: pytest.approx(2 / 4), 3: pytest.approx(1)}
    speed = reporter.speed()
    assert (speed["mfu"], speed["tokens_per_second"]) == (pytest.approx(3 / 5), pytest.approx(90 / 5))


def test_who_has_done_nothing_has_no_speed(tmp_path: Path) -> None:
    with Reporter(tmp_path, max_steps=9, start_step=9, log_every=2, gauge=Gauge(torch.device("cpu"), 1.0)) as reporter:
        pass
    assert reporter.speed() == {}


def test_a_skipped_update_is_counted_and_spoils_no_mean() -> None:
    window = Window()
    window.add(report(1))
    window.add(report(2, loss=math.nan, nll=math.nan, gradient_norm=math.inf, skipped=True))
    averages = window.averages(seconds=1.0)
    assert (averages["loss"], averages["gradient_norm_max"], averages["skipped_updates"]) == (1.0, 1.0, 1)


def test_what_a_pointer_tells_is_averaged_by_tokens_without_skipped_updates_and_reaches_both_logs(
    tmp_path: Path,
) -> None:
    with Reporter(tmp_path, max_steps=9, start_step=0, log_every=3) as reporter:
        reporter.step(report(1, target_tokens=30, pointer={"p_gen": 0.4, "coverage": 1.0}))
        reporter.step(report(2, target_tokens=10, pointer={"p_gen": 0.8, "coverage": 3.0}))
        reporter.step(report(3, skipped=True, pointer={"p_gen": math.nan, "coverage": math.nan}))
    averages = records(tmp_path, "train")[3]
    assert (averages["p_gen"], averages["coverage"]) == (pytest.approx(0.5), 1.5)
    assert curve(tmp_path / "tensorboard", "train/p_gen") == {3: averages["p_gen"]}
    assert curve(tmp_path / "tensorboard", "train/coverage") == {3: 1.5}


def test_time_spent_validating_does_not_slow_the_tokens_down() -> None:
    now = 0.0
    watch = Stopwatch(clock=lambda: now)
    now = 3.0
    with watch.paused():
        now = 103.0
    now = 104.0
    assert watch.seconds == 4.0


def test_both_logs_hold_every_window_and_the_last_short_one(tmp_path: Path) -> None:
    train(tmp_path, 1, 5)
    losses = {step: values["loss"] for step, values in records(tmp_path, "train").items()}
    assert losses == {2: 1.5, 4: 3.5, 5: 5.0}
    assert curve(tmp_path / "tensorboard", "train/loss") == losses
    assert set(records(tmp_path, "train")[2]) == {
        tag.removeprefix("train/")
        for tag in events(tmp_path / "tensorboard").Tags()["scalars"]
        if tag.startswith("train/")
    }


def test_a_validation_reaches_both_logs_with_its_baseline_in_the_same_chart(tmp_path: Path) -> None:
    train(tmp_path, 1, 4)
    assert records(tmp_path, "validation") == {4: dict(VALIDATION.metrics)}
    board = tmp_path / "tensorboard"
    assert curve(board, "validation/rouge1") == {4: 0.312}
    assert curve(board / "lead3", "validation/rouge1") == {4: 0.24}
    assert events(board).Tags()["images"] == ["validation_images/cross_attention"]
    assert "samples/1/text_summary" in events(board).Tags()["tensors"]


def test_a_resumed_run_repeats_no_step_and_misses_none(tmp_path: Path) -> None:
    train(tmp_path, 1, 7)  # the last checkpoint was at step 4
    train(tmp_path, 5, 10)
    train(tmp_path / "straight", 1, 10)
    for kind, tag in (("train", "train/nll"), ("validation", "validation/loss")):
        assert list(records(tmp_path, kind)) == list(records(tmp_path / "straight", kind))
        assert curve(tmp_path / "tensorboard", tag) == curve(tmp_path / "straight" / "tensorboard", tag)


def test_the_first_step_done_again_counts_instead_of_the_old_one(tmp_path: Path) -> None:
    train(tmp_path, 1, 4)
    train(tmp_path, 4, 4)
    losses = {step: values["loss"] for step, values in records(tmp_path, "train").items()}
    assert losses == {2: 1.5, 4: 4.0}
    assert curve(tmp_path / "tensorboard", "train/loss") == losses


def test_a_run_that_starts_again_starts_its_log_again(tmp_path: Path) -> None:
    train(tmp_path, 1, 3)
    train(tmp_path, 1, 4)
    assert list(records(tmp_path, "train")) == [2, 4]
    assert list(curve(tmp_path / "tensorboard", "train/loss")) == [2, 4]


@pytest.mark.parametrize(
    "line", ['{"step": 4, "tra', "[]", "7", '{"stop": 4}', '{"step": "4"}', '{"step": null}', "\0"]
)
def test_a_line_that_a_kill_or_the_disk_has_damaged_is_dropped(tmp_path: Path, line: str) -> None:
    train(tmp_path, 1, 4)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write(line)
    train(tmp_path, 5, 6)
    assert list(records(tmp_path, "train")) == [2, 4, 6]


def test_json_readers_get_null_for_what_json_cannot_say(tmp_path: Path) -> None:
    with Reporter(tmp_path, max_steps=2, start_step=0, log_every=1) as reporter:
        reporter.step(report(1, loss=math.nan, skipped=True))
    assert records(tmp_path, "train")[1]["loss"] is None
    assert "train/loss" not in events(tmp_path / "tensorboard").Tags()["scalars"]


def test_hyperparameters_add_no_run(tmp_path: Path) -> None:
    with Reporter(tmp_path, max_steps=2, start_step=0, log_every=2) as reporter:
        reporter.step(report(1))
        reporter.finish({"model.width": 8, "model.tie": True, "data.name": "sample"}, {"rouge1": 0.4})
    board = tmp_path / "tensorboard"
    assert [path for path in board.iterdir() if path.is_dir()] == []
    assert curve(board, "whole_run/rouge1") == {1: 0.4}
    assert events(board).summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name == "hparams"
    assert records(tmp_path, "whole_run") == {1: {"rouge1": 0.4}}


@pytest.mark.parametrize("name", ["metrics.jsonl", "tensorboard"])
def test_a_log_that_cannot_be_opened_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    if name == "metrics.jsonl":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("in the way")
    with caplog.at_level(logging.WARNING):
        train(tmp_path, 1, 8)
    assert len(caplog.records) == 1
    others = {"metrics.jsonl", "tensorboard"} - {name}
    assert all((tmp_path / other).exists() for other in others)


def test_a_disk_that_fills_up_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Reporter(tmp_path, max_steps=9, start_step=0, log_every=1) as reporter:
        reporter.step(report(1))
        monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
        monkeypatch.setattr("summarizer.training.metrics_log.MetricsLog.write", full)
        for step in range(2, 6):
            reporter.step(report(step))
            reporter.validation(step, VALIDATION)
        reporter.finish({}, {})
    assert sorted(record.message.split()[0] for record in caplog.records) == ["TensorBoard", "metrics.jsonl"]


def test_no_character_of_a_sample_is_markup() -> None:
    text = "<b>bold</b> | *star* _under_ `code` # 1. [link](x) \\ & &amp; ![i](y)\n- second"
    page = markdown_to_safe_html(as_markdown(Sample("id*1*", text, text, text)))
    assert page.count("<td>") == 2
    for tag in ("<b>", "<em>", "<code>", "<a", "<img", "<li>", "<h1>"):
        assert tag not in page
    assert html.unescape(page).count(text.replace("\n", "<br>")) == 3


def test_a_long_document_is_cut_at_a_word() -> None:
    text = as_markdown(Sample("a", "word " * 1000, "r", "p"))
    assert len(text) < 1000
    assert "word …" in text


def test_a_log_file_gets_lines_and_not_a_bar() -> None:
    stream = io.StringIO()
    progress = Progress(max_steps=1000, start_step=0, stream=stream)
    for step in range(1, 1001):
        progress.update(step, loss=2.0, tokens_per_second=1234.5)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 1/1000, loss 2.000, 1,234 tokens/s, ")
    assert lines[-1].startswith("step 1000/1000")
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_a_bar_that_starts_where_the_run_resumes() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = Progress(max_steps=10, start_step=4, stream=stream)
    progress.update(5, loss=2.0, tokens_per_second=10.0)
    progress.close()
    assert "4/10" in stream.getvalue()
    assert "5/10, loss 2.000, 10 tokens/s" in stream.getvalue()


def test_the_validation_line_shows_points_beside_the_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, 1, 4)
    line = "step 4  validation loss 3  perplexity 20.1  ROUGE-1 31.2 (lead-3 24.0)"
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.out == ""


def test_a_validation_that_will_be_done_again_is_withdrawn(tmp_path: Path) -> None:
    """The last checkpoint is from before it: a signal cut short the first try, and a kill followed the second."""
    train(tmp_path, 1, 4)
    with Reporter(tmp_path, max_steps=8, start_step=4, validated_step=0, log_every=1) as reporter:
        assert records(tmp_path, "validation") == {}
        reporter.validation(4, VALIDATION)
    assert list(records(tmp_path, "train")) == [2, 4]
    assert list(records(tmp_path, "validation")) == [4]
