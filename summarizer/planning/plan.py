"""A training and its devices in; memory, time and cost of it, as a plan, out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from summarizer.data.sampler import BatchingConfig
from summarizer.errors import UserError
from summarizer.model.config import TransformerConfig
from summarizer.model.flops import Amounts, operations_by_part, update_flops
from summarizer.planning.devices import Device
from summarizer.planning.lengths import Epoch, Lengths
from summarizer.planning.memory import BatchShape, MemoryModel, MemoryUse, Sizes
from summarizer.planning.step_time import (
    ON_CPU,
    ON_CPU_IN_HALF,
    ON_GPU,
    Assumption,
    Load,
    StepTime,
    ring_bytes,
    step_time,
)
from summarizer.runtime import Precision, Strategy

_FLOAT = 4  # bytes of a weight or a gradient, in memory and on the way
_MOST_MEMORY = 0.92  # of a device's memory; the rest is for the driver, the exchange and what lies between tensors


@dataclass(frozen=True)
class Training:
    """What is to be trained, and on what."""

    model: TransformerConfig
    vocab_size: int
    lengths: Lengths
    batching: BatchingConfig
    accumulate: int
    max_steps: int
    device: Device
    gpus: int
    link: float  # bytes a second from one device to the next, on the slowest stretch of the ring
    precision: Precision  # never auto
    strategy: Strategy
    recompute: bool
    mfu: float | None = None

    @property
    def peak(self) -> float:
        return self.device.peak(self.precision)

    @property
    def assumption(self) -> Assumption:
        if not self.device.is_cpu:
            return ON_GPU
        return ON_CPU if self.precision is Precision.fp32 else ON_CPU_IN_HALF

    @property
    def low_precision(self) -> torch.dtype | None:
        """Of half the size, as a CPU counts it."""
        return None if self.precision is Precision.fp32 else torch.bfloat16

    @property
    def is_sharded(self) -> bool:
        return self.strategy is Strategy.fsdp and self.gpus > 1


@dataclass(frozen=True)
class Variant:
    """One way to use the memory."""

    strategy: Strategy
    recompute: bool
    use: MemoryUse  # of each device, with the largest batch
    fits: bool
    most_max_tokens: int  # the largest data.batching.max_tokens that fits; 0 if not even one example does

    @property
    def settings(self) -> str:
        return f"{self.strategy.value}{', recomputing' if self.recompute else ''}"


@dataclass(frozen=True)
class Plan:
    """All that is foretold of a training."""

    parameters: int
    shape: BatchShape  # the largest on a device
    variants: list[Variant]  # the chosen one first
    flops_by_part: Mapping[str, int]  # of an update, of real tokens, on all devices
    time: StepTime
    mfu: float  # that this time would be
    updates: int
    tokens_per_update: float  # real ones, of all devices
    examples_per_update: float
    padding: float  # share of all positions
    epochs: float

    @property
    def chosen(self) -> Variant:
        return self.variants[0]

    @property
    def flops(self) -> int:
        return sum(self.flops_by_part.values())

    @property
    def tokens_per_second(self) -> float:
        return self.tokens_per_update / self.time.total

    @property
    def hours(self) -> float:
        """Without validations and checkpoints."""
        return self.updates * self.time.total / 3600


def make_plan(training: Training) -> Plan:
    """Of the whole training. Takes a second or two: the model is gone through without content, several times."""
    epoch = training.lengths.epoch(training.batching)
    real = update_flops(training.model, training.vocab_size, epoch.real)
    of_an_update = training.accumulate / len(epoch.batches)
    real_flops = real * of_an_update / training.gpus
    time = update_time(training, _shapes_of_an_update(training, epoch), real_flops=real_flops)
    parts = operations_by_part(training.model, training.vocab_size, epoch.real)
    return Plan(
        parameters=Sizes.of(training.model, training.vocab_size).total,
        shape=_largest_shape(training),
        variants=_variants(training),
        flops_by_part={name: round(part.both * of_an_update) for name, part in parts.items()},
        time=time,
        mfu=real_flops / training.peak / time.total,
        updates=training.max_steps,
        tokens_per_update=epoch.real_tokens * training.accumulate,
        padding=1 - epoch.real_tokens / epoch.positions,
        examples_per_update=training.accumulate * len(training.lengths.source) / len(epoch.batches),
        epochs=training.max_steps * training.accumulate / epoch.num_batches,
    )


def link_between(device: Device, *, gpus: int, gpus_per_machine: int, network: float) -> float:
    """Bytes a second of the slowest stretch of a ring over all devices: a machine's network, where there are several.

    :param network: bytes a second of each device's share of its machine's network.
    """
    return device.link if gpus <= gpus_per_machine else min(device.link, network)


def _largest_shape(training: Training) -> BatchShape:
    """Of the longest documents and summaries there may be, on the device that gets most of them."""
    source, target = (_on_grid(training, length) for length in training.lengths.longest)
    examples = max(1, training.batching.max_tokens // (source + target))
    if training.batching.max_examples is not None:
        examples = min(examples, training.batching.max_examples)
    return BatchShape(-(-examples // training.gpus), source, target)


def _on_grid(training: Training, length: int) -> int:
    step = training.batching.length_step
    return -(-length // step) * step


def memory_model(training: Training, *, source: int, target: int) -> MemoryModel:
    return MemoryModel(
        training.model,
        training.vocab_size,
        source=source,
        target=target,
        low_precision=training.low_precision,
        shards=training.gpus if training.is_sharded else 1,
        recompute=training.recompute,
        accumulates=training.accumulate > 1,
    )


def _variants(training: Training) -> list[Variant]:
    chosen = (training.strategy, training.recompute)
    others = [(strategy, recompute) for recompute in (False, True) for strategy in Strategy]
    if training.gpus == 1:
        others = [(strategy, recompute) for strategy, recompute in others if strategy is Strategy.ddp]
    ways = [chosen, *(way for way in others if way != chosen)]
    return [_variant(replace(training, strategy=strategy, recompute=recompute)) for strategy, recompute in ways]


def _variant(training: Training) -> Variant:
    shape = _largest_shape(training)
    memory = memory_model(training, source=shape.source, target=shape.target)
    room = _MOST_MEMORY * training.device.memory
    use = memory.use(shape.examples)
    most = memory.most_examples(room) * training.gpus * (shape.source + shape.target)
    return Variant(training.strategy, training.recompute, use, use.total <= room, most)


def update_time(training: Training, shapes: Mapping[BatchShape, float], *, real_flops: float) -> StepTime:
    """Of an update on each device.

    :param shapes: how many batches of which shape it computes.
    :param real_flops: that the real tokens of these need.
    """
    batches = sum(shapes.values())
    flops = sum(
        count * update_flops(training.model, training.vocab_size, padded_amounts(shape))
        for shape, count in shapes.items()
    )
    kept = batches * _kept_bytes(training, shapes)
    if training.recompute:  # one more forward pass: a third again of the products, and of what they write
        flops, kept = flops * 4 / 3, kept * 4 / 3
    sizes = Sizes.of(training.model, training.vocab_size)
    load = Load(
        flops=flops,
        real_flops=real_flops,
        kept_bytes=kept,
        parameters=sizes.total / (training.gpus if training.is_sharded else 1),
        sent_bytes=_sent_bytes(training, sizes, batches),
    )
    device = training.device
    return step_time(
        load,
        training.assumption,
        peak=training.peak,
        bandwidth=device.bandwidth,
        link=training.link,
        mfu=training.mfu,
    )


def padded_amounts(shape: BatchShape) -> Amounts:
    """Of every position; those that padding hides in the loss are few."""
    one = Amounts.padded(1, shape.source, shape.target, shape.target)
    return Amounts(*(round(shape.examples * amount) for amount in one))


def _sent_bytes(training: Training, sizes: Sizes, batches: float) -> float:
    weights = _FLOAT * sizes.total
    if not training.is_sharded:  # gradients, once they are complete
        return ring_bytes(weights, training.gpus)
    # For each batch: all weights for its forward pass, layers once more for backward, and sums of gradients.
    return batches * ring_bytes(3 * weights - _FLOAT * sizes.around, training.gpus) / 2


def _kept_bytes(training: Training, shapes: Mapping[BatchShape, float]) -> float:
    """By the mean batch."""
    batches = sum(shapes.values())
    examples = sum(count * shape.examples for shape, count in shapes.items())
    sources = sum(count * shape.examples * shape.source for shape, count in shapes.items())
    targets = sum(count * shape.examples * shape.target for shape, count in shapes.items())
    source, target = (max(2, math.ceil(positions / examples)) for positions in (sources, targets))
    return memory_model(training, source=source, target=target).kept_once(examples / batches)


def _shapes_of_an_update(training: Training, epoch: Epoch) -> Mapping[BatchShape, float]:
    """On the average device."""
    share = training.accumulate / len(epoch.batches)
    shapes: dict[BatchShape, float] = {}
    for batch in epoch.batches:
        shape = BatchShape(len(batch.indices) / training.gpus, batch.source_length, batch.target_length)
        shapes[shape] = shapes.get(shape, 0.0) + share
    return shapes


def require_fit(plan: Plan, training: Training) -> None:
    """Raise UserError if no way to use the memory that is at hand lets a single example fit."""
    if any(variant.most_max_tokens for variant in plan.variants):
        return
    least = min(plan.variants, key=lambda variant: variant.use.total).use
    state = (least.weights + least.moments) / 2**30
    raise UserError(
        f"device ({training.device.name}) has {training.device.memory / 2**30:.0f} GiB, in which not even one example "
        f"of this model fits (weights and moments alone take {state:,.1f} GiB): take more gpus with "
        "runtime.strategy=fsdp, a larger device or a smaller model"
    )
