"""Measure what attention mechanisms cost and recall, beside a convolution and an LSTM."""

from __future__ import annotations

import logging
from pathlib import Path

from tqdm import tqdm

from summarizer.comparison.cost import measure_costs, num_timings
from summarizer.comparison.mechanisms import parse_mechanism
from summarizer.comparison.reach import measure_reach
from summarizer.comparison.report import Comparison, can_plot
from summarizer.config import CompareAttentionConfig
from summarizer.errors import UserError
from summarizer.runtime import Runtime, configure_logging, set_up

logger = logging.getLogger(__name__)


def compare_attention(config: CompareAttentionConfig) -> None:
    """Measure, print the tables, write them with results.json and plots."""
    configure_logging()
    output = Path(config.output)
    if output.exists() and not output.is_dir():
        raise UserError(f"output ({output}) is a file and must be a folder: choose another")
    runtime = set_up(config.runtime)
    comparison = _compare(config, runtime)
    plots = comparison.write(output)
    print(comparison.tables())
    logger.info("\nwritten to %s: results.json, tables.md%s", output, "".join(f", {plot.name}" for plot in plots))
    if not can_plot():
        logger.info("no plots, for they need matplotlib: pip install matplotlib")


def _compare(config: CompareAttentionConfig, runtime: Runtime) -> Comparison:
    mechanisms = [parse_mechanism(name) for name in config.mechanisms]
    sizes = {"width": config.width, "num_heads": config.num_heads, "seed": config.seed}
    logger.info("%d mechanisms of width %d, on %s", len(mechanisms), config.width, runtime.describe())
    with tqdm(total=len(mechanisms) * num_timings(config.cost), desc="cost", unit="timing", disable=None) as bar:
        costs = measure_costs(mechanisms, config.cost, **sizes, runtime=runtime, on_step=bar.update)
    reaches = []
    with tqdm(total=len(mechanisms) * config.recall.steps, unit="step", disable=None) as bar:
        for mechanism in mechanisms:
            bar.set_description(mechanism.name)
            reach = measure_reach(mechanism, config.recall, **sizes, runtime=runtime, on_step=bar.update)
            reaches.append(reach)
            accuracies = ", ".join(f"{each.share:.0%} at {length:,}" for length, each in reach.by_length.items())
            logger.info("%-24s recalls %s, after %.0f s", mechanism.name, accuracies, reach.train_seconds)
    return Comparison(costs, reaches, config.recall.train_length, _setup(config, runtime))


def _setup(config: CompareAttentionConfig, runtime: Runtime) -> str:
    recall = config.recall
    return (
        f"Width {config.width}, {config.num_heads} heads; {runtime.describe()}; two layers, {recall.steps:,} updates "
        f"of {recall.batch_size} sequences of at most {recall.train_length} tokens."
    )
