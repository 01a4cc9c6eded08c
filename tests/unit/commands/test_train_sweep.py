"""The table of a sweep of trainings: units, order, the bar to beat, what became of each job and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from summarizer.checkpoint import RunLock
from summarizer.commands.jobs import Job, Record, Result, Status, SweepTable
from summarizer.commands.train_sweep import TRAINING_SWEEP, training_result, training_table
from summarizer.config import TrainConfig
from summarizer.training.state import TrainerState

BAR = {"lead3/rouge1": 0.25, "lead3/rougeLsum": 0.21}


def trained(name: str, value: float | None, objective: str = "loss", **metrics: Any) -> Job:
    found = {objective: value, "best_step": 1500, "step": 2000, **metrics}
    result = Result(objective, value, objective == "loss", found)
    return Job(Path(name), Record([f"x={name}"], Status.finished, result=result))


def cells(table: SweepTable) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_losses_are_compared_by_the_least_and_told_in_their_units() -> None:
    jobs = [trained("b", 2.5, accuracy=0.4567), trained("a", 2.25, stopped_early=True)]
    table = training_table(Path("sweep"), jobs)
    rows = cells(table)
    assert list(rows)[2:] == ["a", "b"], "without ROUGE there is no bar"
    assert rows["job"] == ["loss (objective)", "accuracy", "best step", "of", "note"]
    assert rows["a"] == ["2.2500", "-", "1,500", "2,000", "stopped early"]
    assert rows["b"] == ["2.5000", "45.7%", "1,500", "2,000", ""]
    assert table.text.startswith("2 of 2 jobs in sweep finished; best first by the best validation's loss;")
    assert (table.data["best"], [job["value"] for job in table.data["jobs"]]) == ("a", [2.25, 2.5])
    assert "evaluate.py run=a" in table.next_commands[0]
    assert "--logdir sweep" in table.next_commands[1]


def test_rouge_is_compared_by_the_greatest_with_lead_beside() -> None:
    jobs = [trained(name, value, "rouge1", loss=2.0, **BAR) for name, value in (("a", 0.3), ("b", 0.4), ("c", 0.35))]
    rows = cells(training_table(Path("sweep"), jobs))
    assert list(rows)[2:] == ["b", "c", "a", "lead-3"]
    assert rows["job"][:3] == ["loss", "accuracy", "ROUGE-1 (objective)"]
    assert rows["b"][:3] == ["2.0000", "-", "40.00"]
    assert rows["lead-3"] == ["-", "-", "25.00", "-", "-", "21.00", "-", "-", ""]


def test_an_objective_that_has_no_column_gets_the_first() -> None:
    rows = cells(training_table(Path("sweep"), [trained("a", 9.5, "perplexity", loss=2.25)]))
    assert rows["job"][:3] == ["perplexity (objective)", "loss", "accuracy"]
    assert rows["a"][:3] == ["9.5000", "2.2500", "-"]


def test_jobs_with_and_without_rouge_and_of_several_objectives_share_a_table() -> None:
    jobs = [trained("a", 2.5, loss=2.5), trained("b", 0.3, "rouge1", loss=2.0, accuracy=0.5)]
    table = training_table(Path("sweep"), jobs)
    rows = cells(table)
    assert rows["job"][:3] == ["loss", "accuracy", "ROUGE-1"], "there is not one objective"
    assert (rows["a"][2], rows["b"][2]) == ("-", "30.00")
    assert "best first by the best validation's loss or rouge1;" in table.text


def test_each_validation_split_has_its_bar() -> None:
    jobs = [trained(name, 0.3, "rouge1", **bar) for name, bar in (("a", BAR), ("b", BAR), ("c", {"lead3/rouge1": 0.2}))]
    assert list(cells(training_table(Path("sweep"), jobs)))[2:] == ["a", "b", "c", "lead-3 of a", "lead-3 of c"]


def test_what_is_not_finished_stands_below_and_says_why(tmp_path: Path) -> None:
    failed = Job(tmp_path / "f", Record(["x=1"], Status.failed, reason="x (1) must be 2"))
    stopped, held = (Job(tmp_path / name, Record([], Status.unfinished)) for name in ("stopped", "held"))
    with RunLock(held.folder):
        table = training_table(tmp_path, [failed, stopped, held, trained("none", None), trained("a", 2.5)])
        nothing = training_table(tmp_path, [failed, stopped])
    assert [job["name"] for job in table.data["jobs"]] == ["a", "stopped", "held", "none", "f"]
    assert table.text.startswith(f"2 of 5 jobs in {tmp_path} finished")
    for line in (
        "failed: f: x (1) must be 2",
        "unfinished: stopped: stopped on the way",
        "unfinished: held: in work by",
    ):
        assert table.text.count(f"\n{line}") == 1
    assert (table.text.count("\nfailed: "), table.text.count("\nunfinished: ")) == (1, 2)
    assert cells(table)["f"] == ["-", "-", "-", "-", "failed"]
    assert [job["reason"] for job in table.data["jobs"]] == [*[None] * 4, "x (1) must be 2"]
    assert (nothing.data["best"], nothing.next_commands) == (None, [])
    assert "best first by the best validation's objective;" in nothing.text


@pytest.mark.parametrize(("metric", "lower_is_better"), [("loss", True), ("perplexity", True), ("rouge2", False)])
def test_a_result_is_the_best_validation(metric: str, lower_is_better: bool) -> None:
    config = TrainConfig()
    config.training.best_metric = metric
    state = TrainerState("", step=30, best_value=0.5, best_step=20, best_metrics={metric: 0.5}, stopped_early=True)
    found = training_result(config, state)
    assert (found.objective, found.value, found.lower_is_better) == (metric, 0.5, lower_is_better)
    assert found.metrics == {metric: 0.5, "best_step": 20, "step": 30, "stopped_early": True, "skipped_updates": 0}


def test_a_longer_training_or_another_rate_is_another_job_and_where_it_writes_is_not() -> None:
    config, longer, faster, elsewhere = (TrainConfig() for _ in range(4))
    longer.training.max_steps += 1
    faster.optimizer.lr *= 2
    elsewhere.run_dir = "elsewhere"
    settings = TRAINING_SWEEP.settings_of(config)
    assert settings == TRAINING_SWEEP.settings_of(elsewhere)
    assert settings not in (TRAINING_SWEEP.settings_of(longer), TRAINING_SWEEP.settings_of(faster))


def test_a_finished_job_is_there_while_it_has_a_checkpoint(tmp_path: Path) -> None:
    assert TRAINING_SWEEP.is_there(tmp_path) is False
    (tmp_path / "checkpoints" / "step-0000001").mkdir(parents=True)
    assert TRAINING_SWEEP.is_there(tmp_path) is True
