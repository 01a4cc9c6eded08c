"""Train a model, or continue where its run folder stands."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from itertools import count, islice
from pathlib import Path

from summarizer.checkpoint import (
    RunLock,
    clean_temporary,
    refuse_ways_out,
    write_bytes_atomically,
    write_text_atomically,
)
from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.commands.preparation import PreparedData, prepare
from summarizer.config import TrainConfig, decisive_settings, flat_settings, from_yaml, to_yaml
from summarizer.data.loader import BatchLoader
from summarizer.decoding.generator import Generator
from summarizer.errors import UserError
from summarizer.evaluation.rouge import ROUGE_TYPES
from summarizer.evaluation.validation import Validator
from summarizer.inference import CONFIG_FILE, TOKENIZER_FILE
from summarizer.model.transformer import Transformer
from summarizer.runtime import Runtime, configure_logging, seed_step, set_up
from summarizer.tokenizer import Tokenizer
from summarizer.training.config import TrainingConfig
from summarizer.training.interruption import Interrupted
from summarizer.training.optimizer import build_optimizer
from summarizer.training.reporting import Reporter
from summarizer.training.schedule import learning_rate_factor
from summarizer.training.state import TrainerState
from summarizer.training.step import Updater
from summarizer.training.trainer import Trainer, resume

logger = logging.getLogger(__name__)

# What people compare runs by, in the order of the hyper-parameter table.
_HYPERPARAMETERS = (
    "optimizer.",
    "schedule.",
    "model.",
    "training.",
    "data.batching.",
    "data.max_",
    "tokenizer.",
    "seed",
)


def train(config: TrainConfig) -> None:
    """Everything from data to the last checkpoint; the run folder appears once the data has proved sound."""
    configure_logging()
    run_dir = Path(config.run_dir) if config.run_dir is not None else None
    if run_dir is not None:
        _require_same_run(run_dir, config)
    runtime = set_up(config.runtime)
    data = prepare(config.data, config.tokenizer)
    run_dir = run_dir if run_dir is not None else _new_run_dir(Path("outputs"))
    with RunLock(run_dir):
        _require_same_tokenizer(run_dir, data.tokenizer)
        clean_temporary(run_dir)
        configure_logging(run_dir / "train.log")
        _train(config, run_dir, runtime, data)


def _train(config: TrainConfig, run_dir: Path, runtime: Runtime, data: PreparedData) -> None:
    seed_step(config.seed, 0)
    model = Transformer(config.model, data.tokenizer.vocab_size).to(runtime.device)
    updater = _updater(config, model, runtime)
    state = resume(
        run_dir,
        updater,
        data=data.train.fingerprint,
        validation_data=data.validation.fingerprint,
        tokenizer=data.tokenizer.fingerprint,
        settings=decisive_settings(config),
    )
    # Only now: what is refused above must not become what the run folder says of itself.
    write_text_atomically(run_dir / CONFIG_FILE, to_yaml(config))
    write_bytes_atomically(run_dir / TOKENIZER_FILE, data.tokenizer.to_bytes())
    if config.runtime.compile:
        model.compile()
    loader = _loader(config, data, runtime)
    validator = _validator(config, model, data, runtime)
    logger.info("%s", _start_table(config, run_dir, runtime, data, model, loader, state))
    updater.rehearse(loader.largest_batch())
    reporter = Reporter(
        run_dir,
        max_steps=config.training.max_steps,
        start_step=state.step,
        validated_step=state.validated_step,
        log_every=config.training.log_every,
    )
    with reporter:
        trainer = Trainer(
            config.training,
            updater=updater,
            loader=loader,
            validate=validator,
            reporter=reporter,
            run_dir=run_dir,
            state=state,
        )
        try:
            trainer.fit()
        except Interrupted:
            logger.info("stopped and saved after step %d; the same command continues", state.step)
            raise
        best = {f"best_{name}": value for name, value in state.best_metrics.items() if "/" not in name}
        reporter.finish(_hyperparameters(config), best)
    logger.info("%s", _end_table(run_dir, state))


def _hyperparameters(config: TrainConfig) -> dict[str, str | int | float | bool]:
    settings = flat_settings(config)
    return {
        name: value
        for prefix in _HYPERPARAMETERS
        for name, value in settings.items()
        if name.startswith(prefix) and value != "null"
    }


def _updater(config: TrainConfig, model: Transformer, runtime: Runtime) -> Updater:
    return Updater(
        model,
        build_optimizer(model, config.optimizer),
        runtime=runtime,
        learning_rate=partial(_learning_rate, config),
        label_smoothing=config.training.label_smoothing,
        coverage_weight=partial(_coverage_weight, config.training),
        clip_norm=config.training.clip_norm,
        seed=config.seed,
    )


def _learning_rate(config: TrainConfig, step: int) -> float:
    return config.optimizer.lr * learning_rate_factor(step, config.schedule, max_steps=config.training.max_steps)


def _coverage_weight(training: TrainingConfig, step: int) -> float:
    return training.coverage_weight if step >= training.coverage_start else 0.0


def _loader(config: TrainConfig, data: PreparedData, runtime: Runtime) -> BatchLoader:
    return BatchLoader(
        data.train,
        config.data.batching,
        seed=config.seed,
        num_workers=config.runtime.num_workers,
        pin_memory=runtime.device.type == "cuda",
    )


def _validator(config: TrainConfig, model: Transformer, data: PreparedData, runtime: Runtime) -> Validator:
    return Validator(
        model,
        loader=BatchLoader(data.validation, config.data.batching, seed=config.seed),
        examples=list(islice(data.validation_split, config.validation.rouge_examples)),
        generator=Generator(
            model,
            data.tokenizer,
            config.decoding,
            max_source_tokens=config.data.max_source_tokens,
            device=runtime.device,
            autocast=runtime.autocast,
        ),
        tokenizer=data.tokenizer,
        runtime=runtime,
        samples=config.validation.samples,
        language=config.validation.language,
    )


def _new_run_dir(parent: Path) -> Path:
    """A folder of our own, whatever else starts in the same second: creating it is what claims it."""
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in count(1):
        run_dir = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            run_dir.mkdir(parents=True)
        except FileExistsError:
            continue
        return run_dir
    raise AssertionError("count() is endless")


def _require_same_run(run_dir: Path, config: TrainConfig) -> None:
    """Refuse to continue a run with settings that would make it another one."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"run_dir ({run_dir}) is a file and must be a folder: choose another run_dir")
    refuse_ways_out(run_dir)
    if not (run_dir / CONFIG_FILE).exists():
        return
    before, now = decisive_settings(from_yaml(run_dir / CONFIG_FILE)), decisive_settings(config)
    changed = [
        f"{key} was {before.get(key)} and is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise UserError(
            f"run_dir ({run_dir}) holds a run with other settings ({'; '.join(changed)}): "
            "repeat its settings to continue it, or choose another run_dir"
        )


def _require_same_tokenizer(run_dir: Path, tokenizer: Tokenizer) -> None:
    """The weights of a run belong to its tokenizer, which other texts under the same settings would replace."""
    path = run_dir / TOKENIZER_FILE
    if not path.exists():
        return
    before = Tokenizer.load(path).fingerprint
    if before != tokenizer.fingerprint:
        raise UserError(
            f"run_dir ({run_dir}) holds a run with another tokenizer (its hash was {before[:8]} and is "
            f"{tokenizer.fingerprint[:8]}), for the training texts or tokenizer.path have changed since: "
            "bring them back to continue it, or choose another run_dir"
        )


def _start_table(
    config: TrainConfig,
    run_dir: Path,
    runtime: Runtime,
    data: PreparedData,
    model: Transformer,
    loader: BatchLoader,
    state: TrainerState,
) -> str:
    batches = loader.num_batches(epoch=0)
    tokens = int(data.train.source_lengths.sum() + data.train.target_lengths.sum())
    tokens_per_update = tokens / batches * config.training.accumulate
    epochs = config.training.max_steps * config.training.accumulate / batches
    sizes = config.model
    rows = {
        "model": f"{model.num_parameters:,} parameters: width {sizes.width}, {sizes.num_heads} heads, "
        f"{sizes.encoder_layers} + {sizes.decoder_layers} layers, vocabulary {model.vocab_size:,}",
        "updates": f"{config.training.max_steps:,} of about {tokens_per_update:,.0f} tokens: {epochs:.1f} epochs",
        "device": runtime.describe(),
        "run folder": f"{run_dir}" + (f", continued after step {state.step:,}" if state.step else ""),
        "watch": tensorboard_command(run_dir),
    }
    return "\n".join([data.report, *(f"{name:<10} {value}" for name, value in rows.items())])


def _end_table(run_dir: Path, state: TrainerState) -> str:
    lines = [f"stopped early at step {state.step:,}" if state.stopped_early else f"finished step {state.step:,}"]
    if state.best_step is not None:
        metrics = state.best_metrics
        lines.append(
            f"best checkpoint: step {state.best_step:,}, validation loss {metrics['loss']:.3f}, "
            f"perplexity {metrics['perplexity']:.1f}, accuracy {metrics['accuracy']:.1%}"
        )
        lines += [
            f"  {name:<10} {100 * metrics[name]:5.1f}  lead-3 {100 * metrics[f'lead3/{name}']:5.1f}"
            for name in ROUGE_TYPES
            if name in metrics
        ]
    lines += [
        "next:",
        f"  {script_command('evaluate', f'run={run_dir}')}",
        f"  {script_command('generate', f'run={run_dir}', 'text=An article of your own.')}",
        f"  {tensorboard_command(run_dir)}",
    ]
    return "\n".join(lines)
