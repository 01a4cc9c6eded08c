"""How trainings are swept: what decides one, when it is done, and the table that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from summarizer.checkpoint import list_checkpoints
from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.commands.jobs import Job, Result, Status, Sweep, SweepTable, best_first
from summarizer.config import TrainConfig, decisive_settings
from summarizer.evaluation.rouge import ROUGE_TITLES
from summarizer.tables import markdown_table
from summarizer.training.config import BEST_IS_LOWEST
from summarizer.training.state import TrainerState

_BASELINE = "lead3/"


def training_result(config: TrainConfig, state: TrainerState) -> Result:
    """The best validation, by the metric that picks the checkpoint; of it all metrics."""
    return Result(
        objective=config.training.best_metric,
        value=state.best_value,
        lower_is_better=config.training.best_metric in BEST_IS_LOWEST,
        metrics={
            **state.best_metrics,
            "best_step": state.best_step,
            "step": state.step,
            "stopped_early": state.stopped_early,
            "skipped_updates": state.skipped_updates,
        },
    )


def training_table(folder: Path, jobs: Sequence[Job]) -> SweepTable:
    """Best first, with the baselines of the validation split beside, and why what failed has failed."""
    ordered = best_first(jobs)
    results = [job.record.result for job in ordered if job.record.result is not None]
    objectives = sorted({result.objective for result in results})
    with_rouge = any("rouge1" in result.metrics for result in results)
    names = ["loss", "accuracy", *(ROUGE_TITLES if with_rouge else [])]
    if len(objectives) == 1 and objectives[0] not in names:
        names.insert(0, objectives[0])
    titles = [f"{ROUGE_TITLES.get(name, name)}{' (objective)' * (objectives == [name])}" for name in names]
    rows = [["job", *titles, "best step", "of", "note"], *(_row(job, names) for job in ordered)]
    rows += _baseline_rows(ordered, names)
    finished = sum(job.record.status is Status.finished for job in ordered)
    lines = [
        f"{finished} of {len(ordered)} jobs in {folder} finished; best first by the best validation's "
        f"{' or '.join(objectives) or 'objective'}; ROUGE x 100",
        "",
        markdown_table(rows),
    ]
    lines += [f"\nfailed: {job.name}: {job.record.reason}" for job in ordered if job.record.status is Status.failed]
    lines += [f"\nunfinished: {job.name}: {_whereabouts(job)}" for job in ordered if _is_open(job)]
    best = ordered[0] if ordered and ordered[0].record.result is not None else None
    commands = [] if best is None else [script_command("evaluate", f"run={best.folder}"), tensorboard_command(folder)]
    return SweepTable("\n".join(lines), _as_data(folder, ordered, best), commands)


def _row(job: Job, names: Sequence[str]) -> list[str]:
    record, result = job.record, job.record.result
    if result is None:
        return [job.name, *("-" for _ in names), "-", "-", record.status.value]
    step, best_step = result.metrics.get("step"), result.metrics.get("best_step")
    note = "stopped early" if result.metrics.get("stopped_early") else ""
    cells = [_cell(name, result.metrics.get(name)) for name in names]
    return [job.name, *cells, "-" if best_step is None else f"{best_step:,}", f"{step:,}", note]


def _baseline_rows(jobs: Sequence[Job], names: Sequence[str]) -> list[list[str]]:
    """Lead-3 once; or once for each different validation split, if that was swept."""
    seen: dict[tuple[str, ...], str] = {}
    for job in jobs:
        metrics = job.record.result.metrics if job.record.result is not None else {}
        cells = tuple(_cell(name, metrics.get(_BASELINE + name)) for name in names)
        if any(cell != "-" for cell in cells):
            seen.setdefault(cells, job.name)
    return [["lead-3" if len(seen) == 1 else f"lead-3 of {name}", *cells, "-", "-", ""] for cells, name in seen.items()]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in ROUGE_TITLES:
        return f"{100 * value:.2f}"
    return f"{value:.1%}" if name == "accuracy" else f"{value:.4f}"


def _is_open(job: Job) -> bool:
    return job.record.status is Status.unfinished


def _whereabouts(job: Job) -> str:
    holder = job.holder
    return f"in work by {holder}" if holder else "stopped on the way; the same command continues it"


def _as_data(folder: Path, jobs: Sequence[Job], best: Job | None) -> dict[str, Any]:
    """For programs, in the order of the table. ROUGE lies between 0 and 1; ``lead3/...`` are the baselines."""
    rows = []
    for job in jobs:
        result = job.record.result
        rows.append(
            {
                "name": job.name,
                "run_dir": str(job.folder),
                "overrides": list(job.record.overrides),
                "status": job.record.status.value,
                "reason": job.record.reason or None,
                "objective": None if result is None else result.objective,
                "value": None if result is None else result.value,
                "metrics": {} if result is None else result.metrics,
            }
        )
    return {"folder": str(folder), "best": None if best is None else best.name, "jobs": rows}


def _settings_of(config: TrainConfig) -> dict[str, Any]:
    return {**decisive_settings(config), "training.max_steps": config.training.max_steps}


def _is_there(folder: Path) -> bool:
    return bool(list_checkpoints(folder))


TRAINING_SWEEP: Sweep[TrainConfig] = Sweep(
    folder_setting="run_dir", settings_of=_settings_of, is_there=_is_there, table=training_table
)
