"""Foretell what a training would take, and if asked to, do a few updates of it beside."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from summarizer.checkpoint import write_text_atomically
from summarizer.commands.preparation import find_tokenizer
from summarizer.config import PlanConfig
from summarizer.data.encoding import find_encoded
from summarizer.data.sources import open_split
from summarizer.errors import UserError
from summarizer.planning.alternatives import effects
from summarizer.planning.devices import THIS, find_device
from summarizer.planning.lengths import Lengths
from summarizer.planning.measured import compare
from summarizer.planning.plan import Training, link_between, make_plan, require_fit
from summarizer.planning.report import plain, tables
from summarizer.runtime import Precision, configure_logging, set_up
from summarizer.tokenizer import Tokenizer, TokenizerConfig

logger = logging.getLogger(__name__)


def plan(config: PlanConfig) -> None:
    """Print the plan, write it where asked to."""
    configure_logging()
    output = Path(config.output) if config.output else None
    if output is not None and output.is_dir():
        raise UserError(f"output ({output}) is a folder and must be a file: try output={output}/plan.json")
    runtime = set_up(config.runtime) if config.device == THIS else None  # threads, before they are measured
    training = _training(config)
    foretold = make_plan(training)
    require_fit(foretold, training)
    changes = effects(training, foretold)
    print(tables(training, foretold, changes, price=config.price_per_gpu_hour))
    content = plain(training, foretold, changes, price=config.price_per_gpu_hour)
    if config.measure:
        assert runtime is not None, "validate() has seen to that"
        comparison = compare(training, runtime, updates=config.measure, seed=config.seed)
        print(f"\n{comparison.table()}")
        content["measured"] = vars(comparison)
    if output is not None:
        write_text_atomically(output, json.dumps(content, indent=1, default=vars) + "\n")
        logger.info("\nall of it is in %s", output)


def _training(config: PlanConfig) -> Training:
    device = find_device(config.device, gpus=config.gpus)
    precision = config.runtime.precision
    link = link_between(
        device,
        gpus=config.gpus,
        gpus_per_machine=config.gpus_per_machine,
        network=1e9 * config.network_gb_per_s,
    )
    device.peak(precision)  # or a refusal
    return Training(
        model=config.model,
        vocab_size=_vocab_size(config.tokenizer),
        lengths=_known_lengths(config) or _given_lengths(config),
        batching=config.data.batching,
        accumulate=config.training.accumulate,
        max_steps=config.training.max_steps,
        device=device,
        gpus=config.gpus,
        link=link,
        precision=device.best_precision if precision is Precision.auto else precision,
        strategy=config.runtime.strategy,
        recompute=config.runtime.recompute_activations,
        mfu=config.mfu,
    )


def _vocab_size(config: TokenizerConfig) -> int:
    """That of the trained tokenizer, where one is named: training takes it as it is."""
    return config.vocab_size if config.path is None else Tokenizer.load(config.path).vocab_size


def _given_lengths(config: PlanConfig) -> Lengths:
    return Lengths.given(
        config.data_size, max_source=config.data.max_source_tokens, max_target=config.data.max_target_tokens
    )


def _known_lengths(config: PlanConfig) -> Lengths | None:
    """Of local data that a training with these settings has encoded; nothing is downloaded or encoded for a plan."""
    data = config.data
    if data.path is None:
        return None
    try:
        split = open_split(data, "train")
        tokenizer = find_tokenizer(config.tokenizer, split, Path(data.cache_dir))
        if tokenizer is None:
            return None
        encoded = find_encoded(
            split,
            tokenizer,
            max_source_tokens=data.max_source_tokens,
            max_target_tokens=data.max_target_tokens,
            cache_dir=Path(data.cache_dir),
        )
    except UserError as error:
        logger.info("lengths are assumed, for the data cannot be read: %s", error)
        return None
    return None if encoded is None else Lengths.known(encoded.source_lengths, encoded.target_lengths)
