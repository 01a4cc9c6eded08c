"""A plan in; tables for people, and plain values for programs, out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from summarizer.planning.alternatives import Effect
from summarizer.planning.plan import Plan, Training, Variant
from summarizer.runtime import Precision
from summarizer.tables import markdown_table

_GIB = 2**30
_MEMORY_PARTS = {
    "gathered": "gathered of others",
    "activations": "kept for backward",
    "working": "logits, layer at work",
}
_STEP_PARTS = {
    "products": "matrix products",
    "memory": "all between them, bound by memory",
    "optimizer": "optimizer",
    "communication": "exchange between devices, not overlapped",
}


def tables(training: Training, plan: Plan, effects: Sequence[Effect], *, price: float | None) -> str:
    """Markdown that reads well on a terminal, too.

    :param price: of an hour of one device.
    """
    return "\n\n".join(
        [
            _basis(training),
            _head(training, plan),
            _memory(training, plan),
            _step(training, plan),
            _whole(training, plan, price),
            _operations(plan),
            _effects(effects),
        ]
    )


def plain(training: Training, plan: Plan, effects: Sequence[Effect], *, price: float | None) -> dict[str, Any]:
    """All of it, in bytes, seconds and operations."""
    return {
        "is_a_plan": True,
        "device": {
            "name": training.device.name,
            "memory_bytes": training.device.memory,
            "peak_flops": training.peak,
            "precision": training.precision.value,
            "bandwidth": training.device.bandwidth,
            "link": training.link,
            "source": training.device.source,
        },
        "gpus": training.gpus,
        "parameters": plan.parameters,
        "lengths": training.lengths.origin,
        "largest_batch_of_a_device": vars(plan.shape),
        "memory": [_plain_variant(variant) for variant in plan.variants],
        "update": {
            "flops": plan.flops,
            "flops_by_part": dict(plan.flops_by_part),
            "seconds": plan.time.total,
            "seconds_by_part": dict(vars(plan.time)),
            "real_tokens": plan.tokens_per_update,
            "padding": plan.padding,
        },
        "assumption": _assumption(training),
        "mfu": plan.mfu,
        "tokens_per_second": plan.tokens_per_second,
        "updates": plan.updates,
        "epochs": plan.epochs,
        "hours": plan.hours,
        "gpu_hours": plan.hours * training.gpus,
        "cost": None if price is None else plan.hours * training.gpus * price,
        "effects": [vars(effect) for effect in effects],
    }


def _plain_variant(variant: Variant) -> dict[str, Any]:
    return {
        "strategy": variant.strategy.value,
        "recompute_activations": variant.recompute,
        "bytes": {**variant.use.as_dict(), "total": variant.use.total},
        "fits": variant.fits,
        "largest_max_tokens": variant.most_max_tokens,
    }


def _basis(training: Training) -> str:
    """What of a plan is known how."""
    device = "was measured" if training.device.source.startswith("measured") else "is as its data sheet says"
    lengths = "assumed" if training.lengths.origin.startswith("assumed") else "those of the encoded data"
    return (
        f"A plan: parameters, operations and bytes are counted from the model, lengths are {lengths}, the device "
        f"{device}, and times are what all this gives under the assumptions that stand beside them."
    )


def _head(training: Training, plan: Plan) -> str:
    model, device = training.model, training.device
    of_batches = f" in {training.accumulate} batches" if training.accumulate > 1 else ""
    rows = {
        "model": f"{plan.parameters:,} parameters: width {model.width}, {model.num_heads} heads, "
        f"{model.encoder_layers} + {model.decoder_layers} layers, vocabulary {training.vocab_size:,}",
        "data": f"{training.lengths.examples:,} examples, {training.lengths.origin}",
        "update": f"{plan.tokens_per_update:,.0f} real tokens{of_batches}, {plan.padding:.1%} of positions padding; "
        f"{_tera(plan.flops)}",
        "devices": f"{training.gpus} x {device.name}: {device.memory / 1e9:,.0f} GB, "
        f"{_tera(training.peak)}/s in {_precision(training)}, memory {device.bandwidth / 1e9:,.0f} GB/s"
        + (f", {training.link / 1e9:,.0f} GB/s to the next" if training.gpus > 1 else "")
        + f" ({device.source})",
    }
    return "\n".join(f"{name:<8} {value}" for name, value in rows.items())


def _precision(training: Training) -> str:
    is_tf32 = training.precision is Precision.fp32 and Precision.bf16 in training.device.peaks
    return "fp32 (TF32)" if is_tf32 and not training.device.source.startswith("measured") else training.precision.value


def _memory(training: Training, plan: Plan) -> str:
    shape = plan.shape
    rows = [["GiB", *(variant.settings for variant in plan.variants)]]
    for name in plan.chosen.use.as_dict():
        rows.append(
            [
                _MEMORY_PARTS.get(name, name),
                *(f"{variant.use.as_dict()[name] / _GIB:,.2f}" for variant in plan.variants),
            ]
        )
    rows.append(["together", *(f"{variant.use.total / _GIB:,.2f}" for variant in plan.variants)])
    rows.append(["fits", *("yes" if variant.fits else "no" for variant in plan.variants)])
    rows.append(["largest max_tokens", *(f"{variant.most_max_tokens:,}" for variant in plan.variants)])
    title = (
        f"Memory of a device at its fullest, with {shape.examples:,.0f} examples of {shape.source} + {shape.target} "
        f"positions; it has {training.device.memory / _GIB:,.1f} GiB, of which 92% may be used. Gradients come into "
        "being as activations go, and count here with what they exceed these by. The first column is what is set:"
    )
    return f"{title}\n\n{markdown_table(rows)}"


def _step(training: Training, plan: Plan) -> str:
    rows = [["of an update", "ms", "share"]]
    for name, share in plan.time.shares().items():
        seconds = getattr(plan.time, name)
        rows.append([_STEP_PARTS[name], f"{1000 * seconds:,.1f}", f"{share:.0%}"])
    rows.append(["together", f"{1000 * plan.time.total:,.1f}", ""])
    return f"Time, {_assumption(training)}:\n\n{markdown_table(rows)}"


def _assumption(training: Training) -> str:
    if training.mfu is not None:
        return f"assuming an MFU of {training.mfu:g} before the exchange, as mfu= says"
    assumption = training.assumption
    return (
        f"assuming that products reach {assumption.products:.0%} of the peak, and that all between them takes "
        f"{assumption.passes:g} passes over what is kept for backward ({assumption.basis}; mfu= assumes otherwise)"
    )


def _whole(training: Training, plan: Plan, price: float | None) -> str:
    gpu_hours = plan.hours * training.gpus
    rows = [
        ["of the training", ""],
        ["real tokens/s", f"{plan.tokens_per_second:,.0f}"],
        ["MFU", f"{plan.mfu:.0%}"],
        [f"time of {plan.updates:,} updates, {plan.epochs:.1f} epochs", _duration(plan.hours)],
        ["device hours", f"{gpu_hours:,.1f}"],
    ]
    if price is not None:
        rows.append([f"cost at {price:g} an hour", f"{gpu_hours * price:,.2f}"])
    return f"Validations and checkpoints come on top.\n\n{markdown_table(rows)}"


def _operations(plan: Plan) -> str:
    rows = [["operations of", "share"]]
    for name, flops in sorted(plan.flops_by_part.items(), key=lambda part: -part[1]):
        rows.append([name, f"{flops / plan.flops:.0%}"])
    return markdown_table(rows)


def _effects(effects: Sequence[Effect]) -> str:
    rows = [["what one change would do", "time", "device hours", "memory"]]
    for effect in effects:
        rows.append([effect.change, f"{effect.time:.2f}x", f"{effect.gpu_time:.2f}x", f"{effect.memory:.2f}x"])
    return f"For as many examples, the largest saving first:\n\n{markdown_table(rows)}"


def _tera(flops: float) -> str:
    return f"{flops / 1e12:,.4g} TFLOP"


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
