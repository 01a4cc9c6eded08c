"""The jobs of a sweep: each is run, or recognised as done, and what became of it stands in its folder's job.json."""

from __future__ import annotations

import gc
import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from summarizer.checkpoint import RunInUseError, lock_holder, write_text_atomically
from summarizer.errors import UserError
from summarizer.runtime import configure_logging
from summarizer.training.memory import is_out_of_memory

logger = logging.getLogger(__name__)

JOB_FILE = "job.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What a command found, as jobs are compared by it."""

    objective: str  # what ``value`` is of, such as rougeLsum
    value: float | None  # None where it was never measured
    lower_is_better: bool
    metrics: dict[str, Any] = field(default_factory=dict)  # plain data


class Status(Enum):
    finished = "finished"
    failed = "failed"
    unfinished = "unfinished"  # stopped on the way, or at work


@dataclass(frozen=True)
class Record:
    """The content of job.json."""

    overrides: Sequence[str]  # what makes this job differ from the others of its sweep
    status: Status
    settings: dict[str, Any] = field(default_factory=dict)  # all that decides the result
    reason: str = ""  # of a failure, in one line
    traceback: str = ""  # of a failure that is ours
    result: Result | None = None
    time: float = 0.0  # seconds since 1970 when it was written


@dataclass(frozen=True)
class Job:
    """One folder of a sweep with its record."""

    folder: Path
    record: Record

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def holder(self) -> str | None:
        """The process that works on it now."""
        return lock_holder(self.folder) if self.record.status is Status.unfinished else None


@dataclass(frozen=True)
class SweepTable:
    """How jobs compare: for people, and as plain data."""

    text: str  # Markdown
    data: dict[str, Any]
    next_commands: Sequence[str] = ()


@dataclass(frozen=True)
class Sweep(Generic[T]):
    """How a command is swept."""

    folder_setting: str  # which setting names the folder that a job writes
    settings_of: Callable[[T], dict[str, Any]]  # all that decides a job's result; with the same it is not done again
    is_there: Callable[[Path], bool]  # whether what a finished job wrote is still in its folder
    table: Callable[[Path, Sequence[Job]], SweepTable]  # of the sweep's folder
    command: Callable[[T], Result] | None = None  # in place of the command itself, if jobs can share their work
    told_again: Callable[[T, Result], Result] = lambda config, result: result  # what was found before, as asked for now
    forget: Callable[[], None] = lambda: None  # lets go of what they shared


def run_job(
    sweep: Sweep[T],
    folder: Path,
    overrides: Sequence[str],
    configure: Callable[[], T],
    command: Callable[[T], Result | None],
) -> float:
    """The objective of one job; NaN if it fails, which is told in one line and noted, and is no end of the sweep.

    :param configure: makes the job's config, and may refuse.
    """
    configure_logging()  # no longer into the log of the job before
    name = folder.name
    logger.info("\njob %s", name)
    record = Record(overrides, Status.unfinished)
    try:
        config = configure()
        record = replace(record, settings=sweep.settings_of(config))
        result = _earlier_result(sweep, folder, record.settings)
        if result is None:
            write_record(folder, record)
            result = command(config)
            assert result is not None, "a command with a sweep has a result"
        else:
            result = sweep.told_again(config, result)
            logger.info("finished before: %s %s", result.objective, described(result.value))
        write_record(folder, replace(record, status=Status.finished, result=result))
        return math.nan if result.value is None else result.value
    except RunInUseError as error:
        logger.warning("job %s is left to another process: %s", name, str(error).partition(";")[0])
    except Exception as error:
        reason, trace = _explained(error)
        where = f"; its traceback is in {folder / JOB_FILE}" if trace else ""
        logger.error("job %s failed: %s%s", name, reason, where)
        write_record(folder, replace(record, status=Status.failed, reason=reason, traceback=trace))
    finally:
        _leave_nothing_behind()
    return math.nan


def read_jobs(folder: Path, since: float) -> list[Job]:
    """The jobs in a sweep's folder; of those that were not met ``since`` then, only what is finished or at work."""
    jobs = [Job(path.parent, record) for path in sorted(folder.glob(f"*/{JOB_FILE}")) if (record := read_record(path))]
    return [job for job in jobs if job.record.time >= since or job.record.status is Status.finished or job.holder]


def best_first(jobs: Sequence[Job]) -> list[Job]:
    """By objective; those without one behind, the failed ones last."""

    def place(job: Job) -> tuple[int, float]:
        result = job.record.result
        if result is None or result.value is None or math.isnan(result.value):
            return (2 if job.record.status is Status.failed else 1), 0.0
        return 0, result.value if result.lower_is_better else -result.value

    return sorted(jobs, key=place)


def write_record(folder: Path, record: Record) -> None:
    plain = asdict(replace(record, time=time.time())) | {"status": record.status.value}
    write_text_atomically(folder / JOB_FILE, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")


def read_record(path: Path) -> Record | None:
    """None for a file that is not there, or that nobody can read: then the job is as if it had not run."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        result = plain.pop("result")
        return Record(
            **{**plain, "status": Status(plain["status"])}, result=None if result is None else Result(**result)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def described(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _earlier_result(sweep: Sweep[T], folder: Path, settings: dict[str, Any]) -> Result | None:
    earlier = read_record(folder / JOB_FILE)
    if earlier is None or earlier.status is not Status.finished or not sweep.is_there(folder):
        return None
    return earlier.result if earlier.settings == json.loads(json.dumps(settings)) else None


def _explained(error: Exception) -> tuple[str, str]:
    """The reason in one line; and the traceback, if it is not the user who can mend it."""
    message = " ".join(str(error).split())
    if isinstance(error, UserError):
        return message, ""
    if is_out_of_memory(error):
        what = " ".join(str(error).partition("\n")[0].split())
        return f"out of memory ({what[:200]}): lower data.batching.max_tokens, or choose a smaller model", ""
    return f"{type(error).__name__}: {message[:300]}", traceback.format_exc()


def _leave_nothing_behind() -> None:
    """What one job left in this process shall neither take memory from the next nor change it."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
