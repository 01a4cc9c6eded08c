"""Score a run's summaries of one split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.config import EvaluateConfig
from summarizer.data.config import DataConfig
from summarizer.data.example import Example
from summarizer.data.sources import open_split
from summarizer.errors import UserError
from summarizer.evaluation.evaluator import evaluate as score
from summarizer.evaluation.evaluator import side_by_side
from summarizer.inference import Summarizer
from summarizer.runtime import configure_logging

logger = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig) -> None:
    """Summarize the split, print the table and samples, write metrics.json and predictions.jsonl."""
    configure_logging()
    summarizer = Summarizer.from_run(
        config.run, checkpoint=config.checkpoint, decoding=config.decoding, runtime=config.runtime
    )
    examples = _read(config, summarizer.config.data)
    output = Path(config.output) if config.output else Path(config.run) / "evaluation" / config.split
    if output.exists() and not output.is_dir():
        raise UserError(f"output ({output}) is a file and must be a folder: choose another")
    logger.info(
        "%s, step %s: %s examples of %s, on %s",
        config.run, f"{summarizer.step:,}", f"{len(examples):,}", config.split, summarizer.runtime.describe(),
    )  # fmt: skip

    def summarize(documents: Sequence[str]) -> list[str]:
        return summarizer.summarize(documents, progress=True)

    evaluation = score(summarize, examples, seed=config.seed, resamples=config.resamples, processes=config.processes)
    evaluation.write(output)
    print(evaluation.table())
    if config.samples:
        print("\n" + side_by_side(evaluation.records, config.samples))
    logger.info("\nwritten to %s: metrics.json, predictions.jsonl", output)
    logger.info("next:")
    logger.info("  %s", script_command("generate", f"run={config.run}", "text=An article of your own."))
    logger.info("  %s", tensorboard_command(config.run))


def _read(config: EvaluateConfig, data: DataConfig) -> list[Example]:
    """The examples to score: where the run read its data, unless told otherwise."""
    limit = replace(data.limit, **{config.split: config.limit}) if config.limit else data.limit
    chosen = replace(data, path=config.data_path or data.path, limit=limit)
    return list(open_split(chosen, config.split))
