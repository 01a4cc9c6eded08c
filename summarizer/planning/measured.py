"""A model and a batch in; what updates of it really take on this machine, out: the measure of every plan."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from itertools import count

import torch

from summarizer.data.batch import Batch
from summarizer.machine import synchronize
from summarizer.measurement import peak_bytes
from summarizer.model.config import TransformerConfig
from summarizer.model.flops import update_flops
from summarizer.model.transformer import Transformer
from summarizer.planning.memory import BatchShape
from summarizer.planning.plan import Training, memory_model, padded_amounts, update_time
from summarizer.runtime import Runtime, seed_step
from summarizer.tables import markdown_table
from summarizer.tokenizer import PAD_ID
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater

_STATE_BYTES = 12  # of a parameter: a weight and two moments are there between two updates


@dataclass(frozen=True)
class Comparison:
    """Updates of the mean batch of a plan on this machine, foretold and done."""

    shape: BatchShape
    foretold_seconds: float
    seconds: float
    foretold_bytes: float
    peak_bytes: float

    def table(self) -> str:
        size = f"{self.shape.examples:.0f} x ({self.shape.source} + {self.shape.target})"
        rows = [
            [f"a batch of {size}", "foretold", "measured", "error"],
            ["ms of an update", *_row(1000 * self.foretold_seconds, 1000 * self.seconds)],
            ["MiB at the fullest", *_row(self.foretold_bytes / 2**20, self.peak_bytes / 2**20)],
        ]
        return f"Measured on this machine, in tensors and by the clock:\n\n{markdown_table(rows)}"


def _row(foretold: float, measured: float) -> list[str]:
    return [f"{foretold:,.0f}", f"{measured:,.0f}", f"{foretold / measured - 1:+.0%}"]


def compare(training: Training, runtime: Runtime, *, updates: int, seed: int) -> Comparison:
    """For the mean batch of ``training``, which is for one device: this one."""
    epoch = training.lengths.epoch(training.batching)
    batch = sorted(epoch.batches, key=lambda planned: planned.num_positions)[len(epoch.batches) // 2]
    shape = BatchShape(len(batch.indices), batch.source_length, batch.target_length)
    return compare_shape(training, shape, runtime, updates=updates, seed=seed)


def compare_shape(training: Training, shape: BatchShape, runtime: Runtime, *, updates: int, seed: int) -> Comparison:
    """For one batch of ``shape`` an update."""
    training = replace(training, accumulate=1)
    real = update_flops(training.model, training.vocab_size, padded_amounts(shape))
    memory = memory_model(training, source=shape.source, target=shape.target)
    measured = measure_updates(
        training.model,
        training.vocab_size,
        shape,
        runtime,
        updates=updates,
        seed=seed,
        recompute=training.recompute,
    )
    return Comparison(
        shape,
        foretold_seconds=update_time(training, {shape: 1.0}, real_flops=real).total,
        seconds=measured.seconds,
        foretold_bytes=memory.use(shape.examples).total,
        peak_bytes=measured.peak_bytes,
    )


@dataclass(frozen=True)
class Measured:
    """By one process."""

    seconds: float  # of an update, the median
    peak_bytes: float  # weights, gradients and moments included; of PyTorch's tensors alone


def measure_updates(
    config: TransformerConfig,
    vocab_size: int,
    shape: BatchShape,
    runtime: Runtime,
    *,
    updates: int,
    seed: int,
    recompute: bool = False,
) -> Measured:
    """Train on a batch of random tokens without padding, after one update to warm up."""
    seed_step(seed, 0)
    model = Transformer(config, vocab_size, recompute=recompute).to(runtime.device)
    updater = Updater(
        model,
        build_optimizer(model, OptimizerConfig()),
        runtime=runtime,
        learning_rate=lambda step: 1e-4,
        label_smoothing=0.1,
        clip_norm=1.0,
        seed=seed,
    )
    batch, steps = _random_batch(shape, vocab_size), count(1)

    def update() -> None:
        updater(next(steps), [batch])

    update()
    seconds = []
    for _ in range(updates):
        synchronize(runtime.device)
        started = time.perf_counter()
        update()
        synchronize(runtime.device)
        seconds.append(time.perf_counter() - started)
    updater.optimizer.zero_grad(set_to_none=True)
    peak = peak_bytes(update, runtime.device) + _STATE_BYTES * model.num_parameters
    return Measured(statistics.median(seconds), peak)


def _random_batch(shape: BatchShape, vocab_size: int) -> Batch:
    """As training has them: with a mask, though nothing is masked."""
    examples, generator = round(shape.examples), torch.Generator().manual_seed(0)
    source_BS, target_BT, input_BT = (
        torch.randint(PAD_ID + 1, vocab_size, (examples, length), generator=generator)
        for length in (shape.source, shape.target, shape.target)
    )
    return Batch(
        ids=tuple(str(number) for number in range(examples)),
        source_BS=source_BS,
        source_lengths_B=torch.full((examples,), shape.source),
        decoder_input_BT=input_BT,
        target_BT=target_BT,
        target_lengths_B=torch.full((examples,), shape.target),
        source_is_full=False,
    )
