"""A training in; the same with one thing changed, and what that would do, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from summarizer.planning.plan import Plan, Training, make_plan
from summarizer.runtime import Precision

_LEAST_SOURCE = 64  # tokens: with half of less, nobody would summarize


@dataclass(frozen=True)
class Effect:
    """Of a change, as ratios to the plan without it."""

    change: str  # for people: the setting to type
    time: float  # until as many examples have been seen
    gpu_time: float  # likewise, of all devices together
    memory: float  # of the fullest device


def effects(training: Training, plan: Plan) -> list[Effect]:
    """Of what could be changed, the greatest saving of device time first."""
    found = []
    for change, changed in _changes(training):
        other = make_plan(changed)
        time = _seconds_an_example(other) / _seconds_an_example(plan)
        gpu_time = time * changed.gpus / training.gpus
        found.append(Effect(change, time, gpu_time, other.chosen.use.total / plan.chosen.use.total))
    return sorted(found, key=lambda effect: effect.gpu_time)


def _seconds_an_example(plan: Plan) -> float:
    return plan.time.total / plan.examples_per_update


def _changes(training: Training) -> Iterator[tuple[str, Training]]:
    source, _ = training.lengths.longest
    if source >= 2 * _LEAST_SOURCE:
        yield f"data.max_source_tokens={source // 2}", replace(training, lengths=training.lengths.cut(source // 2))
    half = training.vocab_size // 2
    yield f"tokenizer.vocab_size={half}", replace(training, vocab_size=half)
    tokens = 2 * training.batching.max_tokens
    yield (
        f"data.batching.max_tokens={tokens}",
        replace(training, batching=replace(training.batching, max_tokens=tokens)),
    )
    if training.precision is Precision.fp32 and training.device.best_precision is not Precision.fp32:
        yield "runtime.precision=bf16", replace(training, precision=Precision.bf16)
    recompute = not training.recompute
    yield f"runtime.recompute_activations={str(recompute).lower()}", replace(training, recompute=recompute)
    yield f"gpus={2 * training.gpus}", replace(training, gpus=2 * training.gpus)
