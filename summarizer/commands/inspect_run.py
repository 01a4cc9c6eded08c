"""Tell what is in a run folder, whether it is whole, how far the run is, and what its training command would do now."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from summarizer.checkpoint import Examination
from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.commands.resume_plan import Action, ResumePlan, plan_resume
from summarizer.commands.run_report import RunReport, report_on
from summarizer.config import InspectRunConfig, TrainConfig
from summarizer.evaluation.tables import baseline_title
from summarizer.runtime import configure_logging
from summarizer.terminal import printable

EXIT_NOT_SOUND = 1

_WIDTH = 13  # of the column of names
_ROUGE = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum"}


def inspect_run(config: InspectRunConfig) -> None:
    """Print the report; leave with status 1 if anything is wrong with it. The folder stays as it is."""
    configure_logging()
    report = report_on(Path(config.run))
    plan = plan_resume(report)
    text = json.dumps(as_data(report, plan), indent=2) if config.json else as_text(report, plan)
    print(printable(text))
    if report.faults:
        sys.stdout.flush()
        sys.exit(EXIT_NOT_SOUND)


def as_text(report: RunReport, plan: ResumePlan) -> str:
    """For people: a part a row, what is wrong and what to type next at the end, where the eye is."""
    parts: dict[str, list[str]] = {
        "run folder": [str(report.run_dir)],
        "recipe": _recipe(report),
        "tokenizer": [_tokenizer(report)],
        "in use": [f"by {report.lock_holder}" if report.lock_holder else "no"],
        "checkpoints": _checkpoint_table(report),
        "best": _best(report),
        "progress": [_progress(report)],
        "validation": _validation(report),
        "speed": _speed(report),
        "evaluations": _evaluations(report),
        "left over": _leftovers(report),
        "resume": [_resume(plan)],
        "verdict": _verdict(report),
    }
    rows = []
    for name, lines in parts.items():
        rows += [f"{label:<{_WIDTH}}{line}" for label, line in zip([name] + [""] * len(lines), lines, strict=False)]
    return "\n".join([*rows, "next:", *(f"  {line}" for line in _next(report, plan))])


def as_data(report: RunReport, plan: ResumePlan) -> dict[str, Any]:
    """The same for programs, as JSON values; what is not known is null."""
    state, history = report.state, report.history
    tokenizer, config, best = report.tokenizer, report.config, report.best
    return {
        "run": str(report.run_dir),
        "sound": not report.faults,
        "faults": report.faults,
        "in_use_by": report.lock_holder,
        "parameters": report.model.num_parameters if report.model else None,
        "tokenizer": tokenizer and {"pieces": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint},
        "step": state.step if state else None,
        "logged_step": history.last_step,
        "max_steps": config.training.max_steps if config else None,
        "stopped_early": state.stopped_early if state else None,
        "checkpoints": [
            {
                "path": str(each.path.relative_to(report.run_dir)),
                "step": each.step,
                "bytes": each.size,
                "saved_at": each.saved_at,
                "valid": each.is_valid,
                "faults": each.faults,
            }
            for each in report.checkpoints
        ],
        "newest_valid": report.newest_valid.step if report.newest_valid else None,
        "best": best
        and {"step": best.step, "metric": best.metric, "value": best.value if math.isfinite(best.value) else None},
        "validation": {"step": history.validation_step, **history.validation} if history.validation else None,
        "tokens_per_second": history.tokens_per_second,
        "mfu": history.mfu,
        "seconds_left": report.seconds_left,
        "evaluations": [
            {"name": each.name, "examples": each.examples, "scores": each.scores, "fault": each.fault}
            for each in report.evaluations
        ],
        "left_over": [str(path.relative_to(report.run_dir)) for path in report.leftovers],
        "resume": {"action": plan.action.value, "reason": plan.reason, "step": plan.step, "from": plan.checkpoint},
    }


def _recipe(report: RunReport) -> list[str]:
    config = report.config
    if config is None:
        return [f"unknown: config.yaml is {report.config_fault or 'missing'}"]
    return [_model(config, report), *_settings(config)]


def _model(config: TrainConfig, report: RunReport) -> str:
    sizes = config.model
    parameters = f"{report.model.num_parameters:,} parameters: " if report.model else ""
    pointer = ", pointer" if sizes.pointer.enabled else ""
    return (
        f"{parameters}width {sizes.width}, {sizes.num_heads} heads, {sizes.encoder_layers} + {sizes.decoder_layers} "
        f"layers, {sizes.positions.value} positions{pointer}"
    )


def _settings(config: TrainConfig) -> Iterator[str]:
    training, schedule = config.training, config.schedule
    batches = f"{training.accumulate} x " if training.accumulate > 1 else ""
    yield (
        f"{config.data.name}: {config.data.max_source_tokens} -> {config.data.max_target_tokens} tokens, "
        f"batches of {batches}{config.data.batching.max_tokens:,}"
    )
    yield (
        f"{training.max_steps:,} updates, learning rate {config.optimizer.lr:g} {schedule.kind.value} after "
        f"{schedule.warmup_steps:,}, dropout {config.model.dropout:g}, seed {config.seed}"
    )


def _tokenizer(report: RunReport) -> str:
    if report.tokenizer is None:
        return f"unknown: tokenizer.model is {report.tokenizer_fault or 'missing'}"
    return f"{report.tokenizer.vocab_size:,} pieces, fingerprint {report.tokenizer.fingerprint[:12]}"


def _checkpoint_table(report: RunReport) -> list[str]:
    if not report.checkpoints:
        return ["none yet"]
    lines = [f"{'step':>9}  {'saved':<16}  {'size':>10}"]
    for each in report.checkpoints:
        saved = f"{datetime.fromtimestamp(each.saved_at):%Y-%m-%d %H:%M}"
        lines.append(f"{each.step:>9,}  {saved:<16}  {_size(each.size):>10}  {_condition(each, report)}")
    return lines


def _condition(each: Examination, report: RunReport) -> str:
    words = ["valid"] if each.is_valid else [f"{'TOO NEW' if each.too_new else 'DAMAGED'} ({_at_fault(each)})"]
    if each is report.newest_valid:
        words.append("newest valid" if each is not report.checkpoints[-1] else "newest")
    if report.best is not None and each.step == report.best.step:
        words.append("best")
    if each.path in report.leftovers:
        words.append("set aside: the next training puts it back")
    if each.foreign_files:
        words.append(f"with files that nobody reads: {', '.join(each.foreign_files)}")
    return ", ".join(words)


def _at_fault(each: Examination) -> str:
    return ", ".join(fault.partition(":")[0].partition(" ")[0] for fault in each.faults)


def _best(report: RunReport) -> list[str]:
    if report.best is None:
        return ["none yet"] if not (report.run_dir / "best.json").exists() else ["unknown: best.json is damaged"]
    best = report.best
    line = f"step {best.step:,}, by {best.metric}: {best.value:.4g}"
    if report.model is not None and report.served is not None and report.served.step != best.step:
        line += f"; not to be loaded, so evaluate.py and generate.py take step {report.served.step:,}"
    if report.state is None or report.state.best_step != best.step or best.step == report.history.validation_step:
        return [line]  # its metrics are not known, or stand below
    return [line, *_metrics(report.state.best_metrics)]


def _progress(report: RunReport) -> str:
    step = report.step
    line = f"step {step:,}"
    if report.config is not None:
        max_steps = report.config.training.max_steps
        line += f" of {max_steps:,} ({100 * step / max_steps:.0f}%)"
    if report.state is not None and report.state.stopped_early:
        line += ", stopped early"
    if report.saved_step < step:
        line += f", saved up to step {report.saved_step:,}"
    if report.state is not None and report.state.skipped_updates:
        line += f", {report.state.skipped_updates:,} updates skipped"
    return line


def _validation(report: RunReport) -> list[str]:
    history = report.history
    if history.validation_step is None:
        return ["none yet"]
    is_best = report.best is not None and report.best.step == history.validation_step
    first, *rest = _metrics(history.validation)
    return [f"step {history.validation_step:,}{', the best' if is_best else ''}: {first}", *rest]


def _metrics(metrics: dict[str, float]) -> list[str]:
    """Loss and its relatives on a line, ROUGE in points beside that of lead on another."""
    formats = {"loss": "loss {:.3f}", "perplexity": "perplexity {:.1f}", "accuracy": "accuracy {:.1%}"}
    plain = [form.format(metrics[name]) for name, form in formats.items() if name in metrics]
    return [line for line in (", ".join(plain), _rouge(metrics)) if line] or ["no numbers"]


def _rouge(metrics: dict[str, float]) -> str:
    lead = next((path.partition("/")[0] for path in metrics if path.startswith("lead")), "")
    return ", ".join(
        f"{title} {100 * metrics[name]:.1f}"
        + (f" ({baseline_title(lead)} {100 * metrics[f'{lead}/{name}']:.1f})" if f"{lead}/{name}" in metrics else "")
        for name, title in _ROUGE.items()
        if name in metrics
    )


def _speed(report: RunReport) -> list[str]:
    history = report.history
    if history.seconds_per_step is None:
        return []
    line = f"{history.tokens_per_second:,.0f} tokens/s, {history.seconds_per_step:.3g} s an update"
    if history.mfu is not None:
        line += f", {history.mfu:.0%} of what matrix products reach"
    left = report.seconds_left
    return [line if left is None else f"{line}: {_duration(left)} left"]


def _evaluations(report: RunReport) -> list[str]:
    return [
        f"{each.name}: {each.fault}"
        if each.fault
        else f"{each.name}, {each.examples:,} examples: {_rouge(each.scores)}"
        for each in report.evaluations
    ] or ["none yet"]


def _leftovers(report: RunReport) -> list[str]:
    if not report.leftovers:
        return []
    names = ", ".join(str(path.relative_to(report.run_dir)) for path in report.leftovers)
    return [f"{names} ({'being written' if report.lock_holder else 'the next training cleans up'})"]


def _resume(plan: ResumePlan) -> str:
    if plan.action is Action.refuse:
        return f"the training command again would be {plan.reason}"
    return f"the training command again: {plan.reason}"


def _verdict(report: RunReport) -> list[str]:
    if not report.faults:
        return ["sound"]
    count = len(report.faults)
    return [f"NOT SOUND, {count} fault{'s' if count > 1 else ''}:", *(f"  {fault}" for fault in report.faults)]


def _next(report: RunReport, plan: ResumePlan) -> list[str]:
    run = f"run={report.run_dir}"
    lines = []
    if plan.action in (Action.resume, Action.start):
        lines.append(f"the training command again, with run_dir={report.run_dir}")
    if report.served is not None and report.model is not None:
        if not report.evaluations:
            lines.append(script_command("evaluate", run))
        lines.append(script_command("generate", run, "text=An article of your own."))
    if (report.run_dir / "tensorboard").is_dir():
        lines.append(tensorboard_command(report.run_dir))
    return lines


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
