"""The log of a run that continues holds what the run still stands by, whatever a crash or a stranger left in it."""

from __future__ import annotations

import json
from pathlib import Path

from summarizer.training.metrics_log import MetricsLog

JUNK = [
    "",
    "null",
    "5",
    "[]",
    '{"time": 1}',
    '{"step": "1"}',
    '{"step": null}',
    "[" * 100_000,
    "9" * 5000,
    '{"step": 1',
]


def test_lines_that_are_no_records_leave_the_log_of_a_run_that_continues(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = json.dumps({"step": 1, "train": {"loss": 2.0}, "time": 1.0})
    later = json.dumps({"step": 3, "train": {"loss": 1.0}, "time": 2.0})
    path.write_text("\n".join([good, *JUNK, later]))
    log = MetricsLog(path, start_step=2)
    log.close()
    assert path.read_text() == good + "\n"
