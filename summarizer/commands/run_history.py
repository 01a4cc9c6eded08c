"""What a run has written about itself, read back: its training curves, and its evaluations.

The files may be torn, foreign or still growing: what cannot be read is counted or named, never raised.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from summarizer.commands.jobs import JOB_FILE
from summarizer.evaluation.evaluator import METRICS_FILE

_RECENT = 50  # points of the curve that tell the speed


@dataclass
class History:
    """What ``metrics.jsonl`` tells."""

    last_step: int = 0
    """The last update that was logged; a resume does those after its checkpoint again."""

    validation_step: int | None = None
    validation: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""

    tokens_per_second: float | None = None
    seconds_per_step: float | None = None
    """Recent medians, validations left out."""

    mfu: float | None = None
    """Of the machine's matrix products, the share that training reaches; runs of early releases do not tell."""

    seconds_per_validation: float = 0.0
    damaged_lines: list[int] = field(default_factory=list)
    """Numbers of the lines that cannot be read; a last one without its end is not among them: a kill leaves that."""


@dataclass
class Evaluation:
    """A folder that scripts/evaluate.py wrote."""

    name: str
    examples: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    """F1 by kind of ROUGE, between 0 and 1; those of lead-3, or of as many sentences as were asked for, as
    ``lead3/rouge1``."""

    fault: str | None = None


@dataclass(frozen=True)
class _Record:
    step: int
    time: float
    train: dict[str, float]
    validation: dict[str, float]


def read_history(path: Path) -> History:
    """The curves in the file ``path``, which may be missing."""
    history = History()
    records = []
    for number, line, is_whole in _lines(path):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif is_whole:
            history.damaged_lines.append(number)
    history.last_step = max((record.step for record in records), default=0)
    for record in records:
        if record.validation:
            history.validation_step, history.validation = record.step, record.validation
    _measure_speed(history, records)
    return history


def read_evaluations(folder: Path) -> list[Evaluation]:
    """Each folder inside ``folder``, which may be missing; of a sweep each job that came to its end."""
    found = []
    for path in _folders(folder):
        if _is_sweep(path):
            jobs = [job for job in _folders(path) if (job / METRICS_FILE).is_file()]
            found += [_evaluation(job, f"{path.name}/{job.name}") for job in jobs]
        else:
            found.append(_evaluation(path, path.name))
    return found


def numbers(values: object) -> dict[str, float]:
    """The entries of a mapping that are finite numbers."""
    if not isinstance(values, Mapping):
        return {}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def _lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(number from 1, line, whether it has its end)."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            yield number, line, line.endswith("\n")


def _record(line: str) -> _Record | None:
    try:
        content: Any = json.loads(line)
        step, time = int(content["step"]), float(content["time"])
        return _Record(step, time, numbers(content.get("train")), numbers(content.get("validation")))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _measure_speed(history: History, records: list[_Record]) -> None:
    """Between points that follow each other: a stop, or a validation, is rarer than half of them."""
    steps: list[float] = []
    validations: list[float] = []
    for before, after in pairwise(records):
        if before.train and after.train and after.step > before.step:
            steps.append((after.time - before.time) / (after.step - before.step))
        elif before.train and after.validation and after.step == before.step:
            validations.append(after.time - before.time)
    speeds = [record.train["tokens_per_second"] for record in records if "tokens_per_second" in record.train]
    if steps and speeds:
        history.seconds_per_step = statistics.median(steps[-_RECENT:])
        history.tokens_per_second = statistics.median(speeds[-_RECENT:])
    utilisations = [record.train["mfu"] for record in records if "mfu" in record.train]
    if utilisations:
        history.mfu = statistics.median(utilisations[-_RECENT:])
    if validations:
        history.seconds_per_validation = statistics.median(validations)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/") if path.is_dir())


def _is_sweep(folder: Path) -> bool:
    """Whether a --multirun has its jobs here: Hydra notes it at once, and each job notes itself."""
    return (folder / "multirun.yaml").is_file() or any(folder.glob(f"*/{JOB_FILE}"))


def _evaluation(folder: Path, name: str) -> Evaluation:
    evaluation = Evaluation(name)
    path = folder / METRICS_FILE
    if not path.is_file():
        evaluation.fault = f"{METRICS_FILE}: missing"
        return evaluation
    try:
        content: Any = json.loads(path.read_bytes())
        lead = {f"{key}/": value for key, value in content.items() if re.fullmatch(r"lead\d+", key)}
        for whose, scores in {"": content, **lead}.items():
            for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
                evaluation.scores[f"{whose}{kind}"] = float(scores[kind]["f1"])
        evaluation.examples = int(content["examples"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        evaluation.fault = f"{METRICS_FILE}: not what an evaluation writes"
    return evaluation
