"""Score a run's summaries of one split, or a file of anybody's; or compare two that were scored."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from summarizer.checkpoint import write_text_atomically
from summarizer.commands.evaluation_bench import Bench
from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.commands.jobs import Result
from summarizer.commands.prediction_files import language_of, predictions_file, read_cases
from summarizer.config import EvaluateConfig
from summarizer.data.config import DataConfig
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.generator import Summary
from summarizer.decoding.reading import LongDocument
from summarizer.decoding.share_read import loss_of, told_reading
from summarizer.demo.form import in_use
from summarizer.errors import UserError
from summarizer.evaluation.board import write_board
from summarizer.evaluation.cases import Case
from summarizer.evaluation.compare import compare
from summarizer.evaluation.evaluator import METRICS_FILE, PREDICTIONS_FILE, Evaluation
from summarizer.evaluation.evaluator import evaluate as score
from summarizer.evaluation.report_page import REPORT_FILE, Subject, report_page
from summarizer.evaluation.rouge import ROUGE_TITLES
from summarizer.evaluation.tables import comparison_table, evaluation_table, side_by_side
from summarizer.inference import Summarizer
from summarizer.parallel import PeerLostError, Processes, joined
from summarizer.runtime import configure_logging

logger = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig, bench: Bench | None = None, *, is_brief: bool = False) -> Result | None:
    """Print tables and samples, and write metrics.json, predictions.jsonl and report.html.

    Where torchrun started several processes, each of them calls this: they share the documents, and the main one does
    all the rest.

    :param bench: has what earlier evaluations left to share.
    :param is_brief: say in a line what the tables would.
    :return: the scores; None of a comparison, and where another process is the main one.
    """
    try:
        with joined() as processes:
            return _evaluate_together(config, processes, bench if bench is not None else Bench(), is_brief)
    except PeerLostError as error:
        logger.warning("another process of this evaluation is gone (%s)", error)
        raise SystemExit(1) from error


def _evaluate_together(config: EvaluateConfig, processes: Processes, bench: Bench, is_brief: bool) -> Result | None:
    configure_logging(is_quiet=not processes.is_main)
    if config.run is not None and config.predictions is None and not config.compare:
        return _summarize_run(config, config.run, processes, bench, is_brief)
    if not processes.is_main:
        return None
    if config.predictions is not None and not config.compare:
        return _score_file(config, Path(config.predictions), bench, is_brief)
    _compare(config)
    return None


def _summarize_run(
    config: EvaluateConfig, run: str, processes: Processes, bench: Bench, is_brief: bool
) -> Result | None:
    def load() -> tuple[Summarizer, list[Case]]:
        summarizer = bench.summarizer(config, run, processes.local_rank)
        return summarizer, bench.cases(config, summarizer.config.data)

    summarizer, cases = processes.agreed(load)

    def generate(documents: Sequence[str]) -> list[Summary]:
        """Of all documents, each by one process."""
        mine = processes.share(documents)
        return processes.gather(
            summarizer.generate(mine, long_document=config.long_document, progress=processes.is_main)
        )

    if processes.is_main:
        return _score_run(config, run, summarizer, cases, generate, processes, bench, is_brief)
    generate([case.document for case in cases])
    return None


def _score_run(
    config: EvaluateConfig,
    run: str,
    summarizer: Summarizer,
    cases: list[Case],
    generate: Callable[[Sequence[str]], list[Summary]],
    processes: Processes,
    bench: Bench,
    is_brief: bool,
) -> Result:
    output = _output_folder(config, Path(run) / "evaluation" / config.split)
    logger.info(
        "%s, step %s: %s examples of %s%s, on %s%s",
        run, f"{summarizer.step:,}", f"{len(cases):,}", config.split,
        _limited(config, summarizer.config.data, len(cases)), summarizer.runtime.describe(),
        f", {processes.size} processes" if processes.size > 1 else "",
    )  # fmt: skip

    summaries: list[Summary] = []
    memory = summarizer.generator.encoder_memory
    saved_before = memory.saved_seconds if memory is not None else 0.0

    def summarize(documents: Sequence[str]) -> list[str]:
        summaries.extend(generate(documents))
        return [summary.text for summary in summaries]

    language = config.language or summarizer.config.validation.language
    evaluation = _scored(config, summarize, cases, bench, language).with_reading(
        config.long_document.value, [summary.share_read for summary in summaries]
    )
    if memory is not None:  # what is told is the time that it would take alone
        evaluation = replace(evaluation, seconds=evaluation.seconds + memory.saved_seconds - saved_before)
    reading = told_reading(summaries)
    subject = Subject(
        title=f"{Path(run).name}, {config.split} split",
        facts={
            "run": run,
            "checkpoint": f"step {summarizer.step:,}",
            "data": summarizer.config.data.name,
            "decoding": _described(summarizer.generator.config),
            "long documents": f"{config.long_document.value}: {reading}",
        },
        data_name=summarizer.config.data.name if config.data_path is None else None,
    )
    _report(config, evaluation, subject, output, is_brief)
    if config.long_document is LongDocument.truncate and (loss := loss_of(summaries)):
        logger.warning(loss)
    else:
        logger.info(reading)
    if config.tensorboard:
        _write_board(Path(run), evaluation, config, summarizer.step)
    if not is_brief:
        logger.info("next:")
        logger.info("  %s", script_command("generate", f"run={run}", "text=An article of your own."))
        logger.info("  %s", tensorboard_command(run))
    return _result(config, evaluation, sum(len(summary.target) for summary in summaries))


def _limited(config: EvaluateConfig, data: DataConfig, examples: int) -> str:
    """That the run's own limit left out the rest, where nobody gave one here."""
    if config.limit is not None or data.limit.of(config.split) != examples:
        return ""
    return f" (the first ones, by the run's data.limit.{config.split}; limit= takes more)"


def _described(search: DecodingConfig) -> str:
    """The settings that decide something, as YAML writes them."""
    return ", ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in in_use(search).items()
    )


def _score_file(config: EvaluateConfig, file: Path, bench: Bench, is_brief: bool) -> Result:
    cases, predictions = read_cases(config, file, bench)
    output = _output_folder(config, file.with_name(f"{file.name.split('.')[0]}_evaluation"))
    logger.info("%s: %s predictions", file, f"{len(cases):,}")
    subject = Subject(title=str(file.name), facts={"predictions": str(file)})
    evaluation = _scored(config, lambda documents: predictions, cases, bench, language_of(config, [file]))
    _report(config, evaluation, subject, output, is_brief)
    return _result(config, evaluation, None)


def _result(config: EvaluateConfig, evaluation: Evaluation, tokens: int | None) -> Result:
    """What a table of many evaluations tells of one.

    :param tokens: of all summaries, if a model wrote them.
    """
    metrics = evaluation.metrics()
    return Result(
        objective=config.objective,
        value=metrics[config.objective]["f1"],
        lower_is_better=False,
        metrics={
            **metrics,
            "words": evaluation.traits["words"],
            "tokens_per_second": tokens / evaluation.seconds if tokens else None,
            "resamples": config.resamples,
            "seed": config.seed,
        },
    )


def _compare(config: EvaluateConfig) -> None:
    files = [predictions_file(Path(name), config.split) for name in config.compare]
    cases, first = read_cases(config, files[0], Bench())
    others, predictions = read_cases(config, files[1], Bench())
    by_id = {case.id: (case.references, prediction) for case, prediction in zip(others, predictions, strict=True)}
    if len(cases) != len(others):
        raise UserError(
            f"compare must be of the same examples, and {files[0]} has {len(cases):,}, {files[1]} {len(others):,}: "
            "score the same split with the same limit"
        )
    for case in cases:
        if case.id not in by_id or by_id[case.id][0] != case.references:
            raise UserError(
                f"compare must be of the same examples, and id {case.id[:40]} of {files[0]} is not in {files[1]} with "
                "the same reference: score the same split with the same limit"
            )
    second = [by_id[case.id][1] for case in cases]
    comparison = compare(
        cases,
        first,
        second,
        seed=config.seed,
        resamples=config.resamples,
        processes=_processes(config),
        language=language_of(config, files),
    )
    print(f"first:  {config.compare[0]}\nsecond: {config.compare[1]}\n")
    print(comparison_table(comparison))
    if config.output is not None:
        path = Path(config.output) / "comparison.json"
        content = {"compared": list(config.compare), **comparison.metrics()}
        write_text_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        logger.info("\nwritten to %s", path)


def _scored(
    config: EvaluateConfig,
    summarize: Callable[[Sequence[str]], list[str]],
    cases: list[Case],
    bench: Bench,
    language: str,
) -> Evaluation:
    return score(
        summarize, cases,
        seed=config.seed, resamples=config.resamples, processes=_processes(config), language=language,
        baseline_sentences=config.baseline_sentences,
        reuse=bench.baselines(cases, config.seed, config.baseline_sentences, language),
    )  # fmt: skip


def _report(config: EvaluateConfig, evaluation: Evaluation, subject: Subject, output: Path, is_brief: bool) -> None:
    evaluation.write(output)
    files = [METRICS_FILE, PREDICTIONS_FILE]
    if config.report:
        page = report_page(evaluation, subject, examples=config.report_examples)
        write_text_atomically(output / REPORT_FILE, page)
        files.append(REPORT_FILE)
    else:
        (output / REPORT_FILE).unlink(missing_ok=True)  # of the evaluation that was here before
    if is_brief:
        scores = (f"{title} {100 * evaluation.model[name].f1.mean:.2f}" for name, title in ROUGE_TITLES.items())
        logger.info("%s, in %.1f s; written to %s", ", ".join(scores), evaluation.seconds, output)
        return
    print(evaluation_table(evaluation))
    if config.samples:
        print("\n" + side_by_side(evaluation.records, config.samples))
    logger.info("\nwritten to %s: %s", output, ", ".join(files))


def _write_board(run_dir: Path, evaluation: Evaluation, config: EvaluateConfig, step: int) -> None:
    """The scores are told and written by now: a run folder that cannot be written costs the curves alone."""
    try:
        write_board(run_dir / "tensorboard", evaluation, split=config.split, step=step, samples=config.samples)
    except OSError as error:
        logger.warning("TensorBoard's files are not written: %s", error)


def _output_folder(config: EvaluateConfig, default: Path) -> Path:
    output = Path(config.output) if config.output else default
    if output.exists() and not output.is_dir():
        raise UserError(f"output ({output}) is a file and must be a folder: choose another")
    return output


def _processes(config: EvaluateConfig) -> int:
    if config.processes is not None:
        return config.processes
    available: Callable[[int], Any] | None = getattr(os, "sched_getaffinity", None)
    return len(available(0)) if available is not None else os.cpu_count() or 1
