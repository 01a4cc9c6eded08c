"""What people read at the start and at the end of a training, and what they compare runs by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from summarizer.commands.hints import script_command, tensorboard_command
from summarizer.commands.preparation import PreparedData
from summarizer.config import TrainConfig, flat_settings
from summarizer.data.loader import BatchLoader
from summarizer.evaluation.rouge import ROUGE_TYPES
from summarizer.model.transformer import Transformer
from summarizer.parallel import Processes
from summarizer.runtime import Runtime
from summarizer.training.state import TrainerState

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


def start_table(
    config: TrainConfig,
    run_dir: Path,
    runtime: Runtime,
    data: PreparedData,
    model: Transformer,
    loader: BatchLoader,
    state: TrainerState,
    processes: Processes,
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
        "device": runtime.describe()
        + (f", {processes.size} processes ({config.runtime.strategy.value})" if processes.size > 1 else ""),
        "run folder": f"{run_dir}" + (f", continued after step {state.step:,}" if state.step else ""),
        "watch": tensorboard_command(run_dir),
    }
    return "\n".join([data.report, *(f"{name:<10} {value}" for name, value in rows.items())])


def end_table(run_dir: Path, state: TrainerState, speed: Mapping[str, float]) -> str:
    """:param speed: what :meth:`Reporter.speed` says."""
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
    if speed:
        tera = speed["tflops_per_second"]
        rate = f"{tera:.1f} TFLOP/s" if tera >= 1 else f"{1000 * tera:.1f} GFLOP/s"
        lines.append(
            f"speed: {speed['tokens_per_second']:,.0f} real tokens/s, {rate}, "
            f"{speed['mfu']:.0%} of what matrix products reach; at most {speed['peak_memory_gib']:.2f} GiB held"
        )
    lines += [
        "next:",
        f"  {script_command('evaluate', f'run={run_dir}')}",
        f"  {script_command('generate', f'run={run_dir}', 'text=An article of your own.')}",
        f"  {tensorboard_command(run_dir)}",
    ]
    return "\n".join(lines)


def hyperparameters(config: TrainConfig) -> dict[str, str | int | float | bool]:
    settings = flat_settings(config)
    return {
        name: value
        for prefix in _HYPERPARAMETERS
        for name, value in settings.items()
        if name.startswith(prefix) and value != "null"
    }
