"""How evaluations are swept: what decides one, what they share, and the table that compares them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from summarizer.commands.evaluate import evaluate
from summarizer.commands.evaluation_bench import Bench, digest, file_digest, fingerprint
from summarizer.commands.hints import script_command
from summarizer.commands.jobs import Job, Result, Status, Sweep, SweepTable, best_first
from summarizer.config import EvaluateConfig, flat_settings, from_yaml
from summarizer.errors import UserError
from summarizer.evaluation.bootstrap import Difference, f1_difference
from summarizer.evaluation.evaluator import METRICS_FILE, PREDICTIONS_FILE
from summarizer.evaluation.rouge import ROUGE_TITLES, PairScores, Score
from summarizer.evaluation.tables import baseline_title, described_p
from summarizer.inference import CONFIG_FILE
from summarizer.tables import markdown_table

# What changes no number.
_HARMLESS = ("output", "tensorboard", "samples", "processes", "report", "report_examples", "data_path", "objective")
_BENCH = Bench(remembers=True)  # what the jobs of the sweep in this process share


@dataclass(frozen=True)
class _Scored:
    """What a job left in its folder: the scores of each example, and which examples these are."""

    examples: list[tuple[str, str]]
    scores: list[PairScores]


def evaluation_table(folder: Path, jobs: Sequence[Job]) -> SweepTable:
    """Best first, with lead beside; how much worse each is than the best, and how sure that is."""
    objective = _objective(jobs)
    ordered = best_first([_by(objective, job) for job in jobs])
    done = [job for job in ordered if job.record.status is Status.finished and job.record.result is not None]
    best = done[0] if done else None
    differences = _differences(done)
    head = ["job", *ROUGE_TITLES.values(), "words", "tokens/s", "seconds", f"{ROUGE_TITLES[objective]} - best", "p"]
    rows = [head, *(_row(job, objective, differences.get(job.name), job is best) for job in ordered)]
    rows += _baseline_rows(done)
    lines = [
        f"{len(done)} of {len(ordered)} jobs in {folder} finished; best first by {ROUGE_TITLES[objective]}; F1 x 100 ± "
        "half of its 95% interval; p of a paired bootstrap over the examples",
        "",
        markdown_table(rows),
    ]
    lines += [f"\nfailed: {job.name}: {job.record.reason}" for job in ordered if job.record.status is Status.failed]
    lines += [
        f"\nunfinished: {job.name}: the same command scores it"
        for job in ordered
        if job.record.status is Status.unfinished
    ]
    commands = []
    if len(done) > 1:
        commands = [script_command("evaluate", f"compare=[{done[0].folder},{done[1].folder}]")]
    return SweepTable("\n".join(lines), _as_data(folder, ordered, best, objective, differences), commands)


def _objective(jobs: Sequence[Job]) -> str:
    """What was asked for last: of the jobs that are there, some may have been compared by another before."""
    results = [(job.record.time, job.record.result.objective) for job in jobs if job.record.result is not None]
    return max(results)[1] if results else "rougeLsum"


def _by(objective: str, job: Job) -> Job:
    result = job.record.result
    if result is None:
        return job
    return replace(job, record=replace(job.record, result=_valued(objective, result)))


def _valued(objective: str, result: Result) -> Result:
    return replace(result, objective=objective, value=result.metrics[objective]["f1"])


def _row(job: Job, objective: str, difference: Difference | None, is_best: bool) -> list[str]:
    result = job.record.result
    if result is None:
        return [job.name, *("-" for _ in ROUGE_TITLES), "-", "-", "-", job.record.status.value, "-"]
    metrics = result.metrics
    cells = [_with_interval(metrics[rouge_type]) for rouge_type in ROUGE_TITLES]
    worse, p = "-", "-"
    if is_best:
        worse = "best"
    elif difference is not None:
        worse, p = f"{100 * difference.mean:+.2f}", described_p(difference.p, metrics["resamples"])
    speed = metrics["tokens_per_second"]
    return [
        job.name, *cells, f"{metrics['words']:.1f}",
        "-" if speed is None else f"{speed:,.0f}", f"{metrics['seconds']:.1f}", worse, p,
    ]  # fmt: skip


def _baseline_rows(jobs: Sequence[Job]) -> list[list[str]]:
    """Lead, once for each different set of examples and number of sentences."""
    seen: dict[tuple[str, ...], str] = {}
    for job in jobs:
        assert job.record.result is not None
        for name, scores in job.record.result.metrics.items():
            if re.fullmatch(r"lead\d+", name):
                cells = [baseline_title(name), *(_with_interval(scores[rouge_type]) for rouge_type in ROUGE_TITLES)]
                seen.setdefault(tuple(cells), job.name)
    return [
        [title if len(seen) == 1 else f"{title} of {name}", *cells, "-", "-", "-", "-", "-"]
        for (title, *cells), name in seen.items()
    ]


def _with_interval(f1: dict[str, float]) -> str:
    return f"{100 * f1['f1']:.2f} ± {50 * (f1['f1_high'] - f1['f1_low']):.2f}"


def _differences(done: Sequence[Job]) -> dict[str, Difference]:
    """By job, its objective less the best one's, where both scored the same examples."""
    if len(done) < 2:
        return {}
    assert done[0].record.result is not None
    objective, metrics = done[0].record.result.objective, done[0].record.result.metrics
    best = _read_scored(done[0].folder)
    found = {}
    for job in done[1:]:
        scored = _read_scored(job.folder)
        if best is not None and scored is not None and scored.examples == best.examples:
            all_types = f1_difference(scored.scores, best.scores, seed=metrics["seed"], resamples=metrics["resamples"])
            found[job.name] = all_types[objective]
    return found


def _read_scored(folder: Path) -> _Scored | None:
    try:
        # Not splitlines: texts may hold U+2028 and its kind.
        lines = (folder / PREDICTIONS_FILE).read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line]
        scores = [{name: Score(**score) for name, score in row["scores"].items()} for row in rows]
        examples = [(str(row["id"]), json.dumps([row.get("reference"), row.get("references")])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _Scored(examples, scores)


def _as_data(
    folder: Path, jobs: Sequence[Job], best: Job | None, objective: str, differences: dict[str, Difference]
) -> dict[str, Any]:
    """For programs, in the order of the table; scores lie between 0 and 1, differences are of the objective's F1."""
    rows = []
    for job in jobs:
        result, difference = job.record.result, differences.get(job.name)
        rows.append(
            {
                "name": job.name,
                "output": str(job.folder),
                "overrides": list(job.record.overrides),
                "status": job.record.status.value,
                "reason": job.record.reason or None,
                "value": None if result is None else result.value,
                "difference": None if difference is None else difference._asdict(),
                "metrics": {} if result is None else result.metrics,
            }
        )
    return {
        "folder": str(folder), "objective": objective, "best": None if best is None else best.name, "jobs": rows
    }  # fmt: skip


def _settings_of(config: EvaluateConfig) -> dict[str, Any]:
    """With the texts and weights as they are now."""
    if config.compare:
        raise UserError("compare is of two, and no --multirun can make more of it: leave one of them out")
    settings = {key: value for key, value in flat_settings(config).items() if key not in _HARMLESS}
    files = {name: file_digest(getattr(config, name)) for name in ("predictions", "references")}
    found: dict[str, Any] = {"files": files}
    if config.run is not None:
        found["weights"] = fingerprint(Path(config.run), config.checkpoint)
        found["cases"] = digest(_BENCH.cases(config, from_yaml(Path(config.run) / CONFIG_FILE).data))
    return {**settings, **found}


def _evaluate_job(config: EvaluateConfig) -> Result:
    """Without what is printed of one evaluation, which the table tells, and without curves, which would be a tangle."""
    result = evaluate(replace(config, tensorboard=False), _BENCH, is_brief=True)
    assert result is not None, "only compare= has none, and is refused before"
    return result


def _is_there(folder: Path) -> bool:
    return (folder / METRICS_FILE).is_file() and (folder / PREDICTIONS_FILE).is_file()


EVALUATION_SWEEP: Sweep[EvaluateConfig] = Sweep(
    folder_setting="output",
    settings_of=_settings_of,
    is_there=_is_there,
    table=evaluation_table,
    command=_evaluate_job,
    told_again=lambda config, result: _valued(config.objective, result),
    forget=_BENCH.clear,
)
