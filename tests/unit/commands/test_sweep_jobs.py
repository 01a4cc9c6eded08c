"""What became of a job is read back as it was written, and jobs stand in the right order."""

from __future__ import annotations

import gc
import math
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from summarizer.checkpoint import RunInUseError, RunLock
from summarizer.commands.jobs import (
    JOB_FILE,
    Job,
    Record,
    Result,
    Status,
    Sweep,
    SweepTable,
    best_first,
    read_jobs,
    read_record,
    run_job,
    write_record,
)
from summarizer.errors import UserError
from summarizer.runtime import configure_logging

SWEEP: Sweep[int] = Sweep("output", lambda config: {"config": config}, Path.is_dir, lambda *_: SweepTable("", {}))


def result(value: float | None, *, lower_is_better: bool = False) -> Result:
    return Result("rouge1", value, lower_is_better, {"rouge1": value})


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record(["a=ü"], Status.finished, {"x": 0.1, "y": None}, "a reason", "a trace", result(0.1 + 0.2))
    before = time.time()
    write_record(tmp_path / "job", record)
    found = read_record(tmp_path / "job" / JOB_FILE)
    assert found is not None
    assert before <= found.time <= time.time()
    assert found == replace(record, time=found.time)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}", b'{"status": "odd", "result": null}', b'{"status"'])
def test_a_record_that_nobody_can_read_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / JOB_FILE).write_bytes(content)
    assert read_record(tmp_path / "job" / JOB_FILE) is None
    assert read_jobs(tmp_path, 0.0) == []
    assert run_job(SWEEP, tmp_path / "job", [], lambda: 1, lambda config: result(0.5)) == 0.5


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_the_best_comes_first_the_failed_last(lower_is_better: bool) -> None:
    values = {"b": 0.5, "a": 0.1 if lower_is_better else 0.9, "nan": math.nan, "none": None}
    jobs = [
        Job(Path(name), Record([], Status.finished, result=result(value, lower_is_better=lower_is_better)))
        for name, value in values.items()
    ]
    jobs = [Job(Path("failed"), Record([], Status.failed)), Job(Path("open"), Record([], Status.unfinished)), *jobs]
    assert [job.name for job in best_first(jobs)] == ["a", "b", "open", "nan", "none", "failed"]


def test_a_finished_job_is_not_done_again_until_its_settings_change_or_its_files_go(tmp_path: Path) -> None:
    done: list[int] = []

    def command(config: int) -> Result:
        done.append(config)
        return result(float(config))

    is_there = [True]
    sweep = Sweep("output", lambda config: {"config": config}, lambda folder: is_there[0], SWEEP.table)
    assert [run_job(sweep, tmp_path / "job", [], lambda: 1, command) for _ in range(2)] == [1.0, 1.0]
    assert done == [1]
    assert run_job(sweep, tmp_path / "job", [], lambda: 2, command) == 2.0
    is_there[0] = False
    assert run_job(sweep, tmp_path / "job", [], lambda: 2, command) == 2.0
    assert done == [1, 2, 2]


def test_a_failure_gives_no_number_and_is_not_shown_by_a_later_sweep_without_the_job(tmp_path: Path) -> None:
    def refuse() -> int:
        raise UserError("x (2) must be\n 1")

    assert math.isnan(run_job(SWEEP, tmp_path / "job", ["x=2"], refuse, lambda config: result(1.0)))
    (job,) = read_jobs(tmp_path, 0.0)
    assert (job.record.status, job.record.reason, job.record.overrides) == (Status.failed, "x (2) must be 1", ["x=2"])
    assert read_jobs(tmp_path, job.record.time + 1) == []


OURS = ("ZeroDivisionError: of ours", True)
FAILURES: dict[str, tuple[Exception, tuple[str, bool]]] = {
    "a bug": (ZeroDivisionError("of\nours"), OURS),
    "a mistake": (UserError("x (2)\nmust be 1"), ("x (2) must be 1", False)),
    "no room": (
        torch.OutOfMemoryError("CUDA out of memory.\nMore"),
        ("out of memory (CUDA out of memory.): lower data.batching.max_tokens, or choose a smaller model", False),
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_failed_is_told_in_one_line_and_kept_with_the_traceback_if_it_is_ours(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error, (reason, has_traceback) = FAILURES[case]

    def fail(config: int) -> Result:
        raise error

    assert math.isnan(run_job(SWEEP, tmp_path / "job", [], lambda: 1, fail))
    record = read_record(tmp_path / "job" / JOB_FILE)
    assert record is not None
    assert (record.status, record.reason, record.result) == (Status.failed, reason, None)
    assert record.settings == {"config": 1}
    assert ("in fail\n" in record.traceback) == has_traceback
    where = f"; its traceback is in {tmp_path / 'job' / JOB_FILE}" if has_traceback else ""
    assert capsys.readouterr().err.endswith(f"error: job job failed: {reason}{where}\n")


def test_a_result_without_a_value_is_a_finished_job_and_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert math.isnan(run_job(SWEEP, tmp_path / "job", [], lambda: 1, lambda config: result(None)))
    assert "finished before: rouge1 -\n" in capsys.readouterr().err
    (job,) = read_jobs(tmp_path, math.inf)
    assert (job.record.status, job.record.result) == (Status.finished, result(None))


def test_a_job_in_other_hands_keeps_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def busy(config: int) -> Result:
        raise RunInUseError("in use by process 1 since 2026; wait")

    assert math.isnan(run_job(SWEEP, tmp_path / "job", [], lambda: 1, busy))
    record = read_record(tmp_path / "job" / JOB_FILE)
    assert record is not None
    assert (record.status, record.reason) == (Status.unfinished, "")
    assert "warning: job job is left to another process: in use by process 1 since 2026\n" in capsys.readouterr().err


def test_what_was_found_before_is_told_as_it_is_asked_for_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = replace(SWEEP, told_again=lambda config, earlier: replace(earlier, objective="rouge2", value=0.25))
    assert run_job(sweep, tmp_path / "job", [], lambda: 1, lambda config: result(0.5)) == 0.5
    assert run_job(sweep, tmp_path / "job", [], lambda: 1, lambda config: result(0.5)) == 0.25
    assert "finished before: rouge2 0.25\n" in capsys.readouterr().err
    (job,) = read_jobs(tmp_path, 0.0)
    assert job.record.result is not None
    assert job.record.result.objective == "rouge2"


def test_no_job_writes_into_the_log_of_the_one_before(tmp_path: Path) -> None:
    def command(config: int) -> Result:
        configure_logging(tmp_path / f"{config}.log")
        return result(0.5)

    for number in (1, 2):
        run_job(SWEEP, tmp_path / f"job-{number}", [], lambda number=number: number, command)
    assert (tmp_path / "1.log").read_text() == ""


def test_one_job_leaves_the_next_its_memory(tmp_path: Path) -> None:
    """Also what only the garbage collector finds, as models that know themselves are."""

    class Model:
        def __init__(self) -> None:
            self.me = self

    models: list[weakref.ref[Model]] = []

    def command(config: int) -> Result:
        models.append(weakref.ref(Model()))
        return result(0.5)

    gc.disable()
    try:
        run_job(SWEEP, tmp_path / "job", [], lambda: 1, command)
    finally:
        gc.enable()
    assert models[0]() is None


def test_an_unfinished_job_is_shown_while_somebody_works_on_it(tmp_path: Path) -> None:
    write_record(tmp_path / "job", Record([], Status.unfinished))
    with RunLock(tmp_path / "job"):
        (job,) = read_jobs(tmp_path, math.inf)
        assert job.holder is not None
    assert read_jobs(tmp_path, math.inf) == []
