"""What the page's form has for each decoding setting: one table, from which the page builds its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.reading import LongDocument

MOST_SUMMARIES = 16
# One page shall not keep the machine from the next, whoever wrote the run's own settings.
MOST = {"beam_size": MOST_SUMMARIES, "beam_groups": MOST_SUMMARIES, "num_samples": 64, "max_tokens": 512}
HIDDEN = {"max_batch_tokens"}  # concerns many documents
TYPES: dict[str, Any] = {name: kind for name, kind in get_type_hints(DecodingConfig).items() if name not in HIDDEN}

_BEAM = (DecodingMethod.beam,)
_SAMPLES = (DecodingMethod.sample, DecodingMethod.mbr)
_SCORED = (DecodingMethod.beam, DecodingMethod.sample)  # by their log-probability


@dataclass(frozen=True)
class Field:
    """A field for one setting."""

    label: str
    methods: tuple[DecodingMethod, ...] = tuple(DecodingMethod)  # of which the setting is
    least: float | None = None
    most: float | None = None
    unless: tuple[str, object] | None = None  # (setting, value) with which this one changes nothing
    needs_pointer: bool = False
    is_advanced: bool = False  # folded away


FIELDS = {
    "method": Field("Method"),
    "beam_size": Field("Hypotheses followed", _BEAM, least=1),
    "num_samples": Field("Samples to choose from", (DecodingMethod.mbr,), least=1),
    "temperature": Field("Temperature", _SAMPLES, least=0.01),
    "top_p": Field("Top p", _SAMPLES, least=0.01, most=1),
    "seed": Field("Seed", _SAMPLES),
    "length_penalty": Field("Length penalty", _SCORED, least=0, unless=("length_normalization", "none")),
    "min_tokens": Field("At least so many tokens", least=0),
    "max_tokens": Field("At most so many tokens", least=1),
    "no_repeat_ngram_size": Field("No n-gram twice, n =", least=0),
    "block_ngrams_of": Field("n-grams are of", unless=("no_repeat_ngram_size", 0), is_advanced=True),
    "repetition_penalty": Field("Repetition penalty", least=0.01, is_advanced=True),
    "length_normalization": Field("Scores normalized by length", _SCORED, is_advanced=True),
    "beam_groups": Field("Groups that differ", _BEAM, least=1, is_advanced=True),
    "diversity_penalty": Field("Diversity penalty", _BEAM, least=0, unless=("beam_groups", 1), is_advanced=True),
    "early_stop": Field("Stop at the first finished ones", _BEAM, is_advanced=True),
    "patience": Field("Patience", _BEAM, least=0.01, unless=("early_stop", False), is_advanced=True),
    "coverage_penalty": Field("Coverage penalty", _BEAM, least=0, needs_pointer=True, is_advanced=True),
    "top_k": Field("Top k", _SAMPLES, least=0, is_advanced=True),
    "min_p": Field("Min p", _SAMPLES, least=0, most=0.99, is_advanced=True),
}
# What a word stands for where it does not speak for itself.
_WORDS: dict[Enum, str] = {
    DecodingMethod.beam: "beam search",
    DecodingMethod.sample: "sampling",
    DecodingMethod.mbr: "the sample most like the others (MBR)",
    LongDocument.truncate: "read what fits",
    LongDocument.lead: "read the whole sentences that fit",
    LongDocument.split: "read everything, in parts",
}


def in_use(config: DecodingConfig) -> dict[str, Any]:
    """The settings that decide something, the others being what they may: plain values by name, the method first."""
    values = {name: getattr(config, name) for name in FIELDS}
    return {
        name: value.name if isinstance(value, Enum) else value
        for name, value in values.items()
        if config.method in FIELDS[name].methods and not _is_idle(FIELDS[name], values)
    }


def _is_idle(field: Field, values: Mapping[str, Any]) -> bool:
    """Whether it changes nothing, for the value of another setting."""
    if field.unless is None:
        return False
    name, useless = field.unless
    value = values[name]
    return bool((value.name if isinstance(value, Enum) else value) == useless)


def fields_as_json() -> list[dict[str, Any]]:
    """For the page, in order: see settings.js."""
    return [
        {
            "name": name,
            "label": field.label,
            "choices": _choices(TYPES[name]),
            "step": 1 if TYPES[name] is int else "any",
            "min": field.least,
            "max": MOST.get(name, field.most),
            "methods": [method.name for method in field.methods],
            "unless": field.unless,
            "pointer": field.needs_pointer,
            "advanced": field.is_advanced,
        }
        for name, field in FIELDS.items()
    ]


def choices_of(kind: type[Enum]) -> list[tuple[str, str]]:
    """Each member's name, and what people call it."""
    return [(member.name, _WORDS.get(member, member.name)) for member in kind]


def _choices(kind: Any) -> list[tuple[object, str]] | None:
    """None for a number."""
    if kind is bool:
        return [(True, "yes"), (False, "no")]
    return [*choices_of(kind)] if issubclass(kind, Enum) else None
