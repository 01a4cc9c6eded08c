"""What became of a job is read back as it was written, and jobs stand in the right order."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from summarizer.checkpoint import RunLock
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

SWEEP: Sweep[int] = Sweep("output", lambda config: {"config": config}, Path.is_dir, lambda *_: SweepTable("", {}))


def result(value: float | None, *, lower_is_better: bool = False) -> Result:
    return Result("rouge1", value, lower_is_better, {"rouge1": value})


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record(["a=1"], Status.finished, {"x": 0.1, "y": None}, result=result(0.1 + 0.2))
    write_record(tmp_path / "job", record)
    found = read_record(tmp_path / "job" / JOB_FILE)
    assert found is not None
    assert found.time > 0
    assert (found.settings, found.result, found.status) == (record.settings, record.result, record.status)


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


def test_an_unfinished_job_is_shown_while_somebody_works_on_it(tmp_path: Path) -> None:
    write_record(tmp_path / "job", Record([], Status.unfinished))
    with RunLock(tmp_path / "job"):
        (job,) = read_jobs(tmp_path, math.inf)
        assert job.holder is not None
    assert read_jobs(tmp_path, math.inf) == []
