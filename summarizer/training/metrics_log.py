"""Numbers in, one JSON object a line out: ``metrics.jsonl``, the training curves for other programs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path


class MetricsLog:
    """Appends records to a file, each with its ``step`` and its ``time`` (seconds since 1970).

    :param start_step: last finished update of a run that resumes. Records of later ones, which will be done
        again, leave the file; 0 empties it.
    :param validated_step: the same of validations, one of which may be due at ``start_step``.
    """

    def __init__(self, path: Path, *, start_step: int, validated_step: int | None = None) -> None:
        validated_step = start_step if validated_step is None else validated_step
        kept = _records_until(start_step, validated_step, path) if start_step > 0 and path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text("".join(kept), encoding="utf-8")
        unfinished.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Append ``{"step": ..., kind: values, "time": ...}``, with null for NaN and infinity."""
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record = {"step": step, kind: numbers, "time": round(time.time(), 3)}
        self._file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _records_until(step: int, validated_step: int, path: Path) -> list[str]:
    """The lines of ``path`` that a run continuing after ``step`` still stands by."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [f"{line}\n" for line in lines if _is_valid(line, step, validated_step)]


def _is_valid(line: str, last_step: int, validated_step: int) -> bool:
    """A killed run may have left half a line, a failing disk anything; and what a run said of its whole is no longer
    the whole."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return False
    last = validated_step if "validation" in record else last_step
    return bool(record["step"] <= last) and "whole_run" not in record
